"""The words that the golden files are made of: training sentences, test cases and queries."""

# The tiny tokenizers learn their vocabularies from these.
CORPUS = [
    "turn on the lights in the kitchen",
    "turn off the heating in the bedroom please",
    "what is the balance of my savings account",
    "please send forty pounds to my sister in Leeds",
    "my card was declined at the supermarket yesterday",
    "why was I charged a fee for taking out cash abroad",
    "the transfer to my landlord has not arrived yet",
    "set an alarm for seven in the morning",
    "remind me to call the dentist on Tuesday",
    "will it rain in Manchester this afternoon",
    "play something quiet while I am cooking",
    "how long should I boil an egg",
    "book a table for two at the new place in Bristol",
    "translate good evening into Portuguese",
    "add milk, bread and apples to the shopping list",
    "where is the nearest petrol station",
    "Maria Jones works for the Northern Bank in Glasgow",
    "the order from Anna Keller reached Berlin on Friday",
    "Professor Okafor moved from Lagos to Toronto in March",
    "the museum in Vienna closes at six",
    "I can't log in, it says that my password is wrong!",
    "what's the exchange rate between euros and dollars?",
    "freeze my card, I think that somebody stole it",
    "o saldo da minha conta não está certo",
    "où est la carte que j'ai commandée ?",
    "das Licht im Flur bitte ausschalten",
    "la reunión con Sofía es a las ocho",
    "unbelievable: unlocking, relocking and re-unlocking took hours",
    "how do I change the address on my account",
    "tell me a joke about accountants",
]

# What long texts are made of: 41 words, more tokens than any tiny model takes.
LONG = (
    "yesterday evening I tried to send some money to my brother in Lisbon, but the payment was "
    "declined twice; the person on the telephone said that it would work this morning, which it "
    "does not, so who decided that?"
)

# name, text: what every model answers.
TEXTS = [
    ("short", "turn on the lights in the kitchen"),
    ("word", "hello"),
    ("empty", ""),
    ("blank", "  \t "),
    ("capitals", "PLEASE freeze My Card, Anna Keller stole it in BERLIN!"),
    ("accents", "Où est naïve Sofía à São Paulo — 50€ or £7.20?"),
    ("scripts", "日本語 and 한국어, עברית; emoji 🙂👍🏽 and the ligature ﬁ in ﬁne"),
    ("controls", "tab\there\u00a0nbsp\u200bzero\r\nline\u0007bell"),
    ("apostrophes", "what's Maria's balance? I can't say, it's O'Brien's"),
    ("combining", "cafe\u0301 in A\u030angstro\u0308m and Zalgo\u0336"),
    ("long", LONG),
    ("endless word", "un" + "lock" * 60 + "ing"),
]

# name, text, other text: what models of pairs answer too.
PAIRS = [
    ("pair", "how long to boil an egg", "An egg takes seven minutes in boiling water."),
    ("pair unrelated", "how long to boil an egg", "The museum in Vienna closes at six."),
    ("pair accents", "où est la carte ?", "La carte de Sofía est à São Paulo 🙂"),
    ("pair empty first", "", "the transfer has not arrived"),
    ("pair empty second", "the transfer has not arrived", ""),
    ("pair long second", "why was the payment declined", LONG),
    ("pair long first", LONG, "why was the payment declined"),
    ("pair both long", LONG, " ".join(reversed(LONG.split()))),
]

# Texts with names in them, for token classification.
NAMED = [
    ("names", "Maria Jones works for the Northern Bank in Glasgow"),
    ("names punctuated", "Anna Keller (Berlin), Prof. Okafor; O'Brien & Sons-Ltd."),
    ("names accented", "Sofía García voló de São Paulo a Zürich con Łukasz"),
    ("names unspaced", "東京のAnna Keller🙂Berlin/Vienna"),
    ("names repeated", "Leeds Leeds Leeds Toronto Toronto relocking unlocking Lagos"),
]

# Sixty-four queries in everyday style, answered by the real MiniLM.
QUERIES = [
    "turn off the lamp next to the sofa",
    "how much money do I have left until payday",
    "hiya!",
    "I moved last week, where can I change my address?",
    "is there a charge if I pay in Swiss francs",
    "wake me at half past five tomorrow",
    "what's a good substitute for buttermilk",
    "somebody used my card in a town that I have never been to",
    "will I need an umbrella in Cork on Saturday",
    "put olive oil and onions on my list",
    "Can you lower the blinds in the study, please?",
    "why is my transfer still pending after four days",
    "my new debit card came without a PIN",
    "how do you say 'the bill, please' in Greek",
    "make it warmer in here",
    "open the garage",
    "what time does the last train to Delft leave",
    "I'd like to close my savings account and move everything to the joint one",
    "tell me something surprising about octopuses",
    "set a timer for eleven minutes",
    "the cash machine kept my card and I need it today",
    "¿puedo pagar con dos tarjetas a la vez?",
    "stop the music",
    "who won the cycling yesterday",
    "how far is it from here to the airport by bike",
    "I was charged twice for the same hotel night, 84.50€ each time",
    "dim the hall lights to 20%",
    "read me my latest message",
    "do I have anything on in the afternoon",
    "can my daughter, who is fourteen, have her own account with you?",
    "the app logs me out every time I open it",
    "naïve question: what is an overdraft?",
    "lock the front door and switch the alarm on",
    "which of my subscriptions went up this month",
    "remind me to water the tomatoes when I get home",
    "what is the square root of 1764",
    "I want a refund for the shoes that never arrived",
    "is the dishwasher done",
    "please raise my monthly limit to two thousand",
    "move Thursday's meeting with Priya to Friday at ten",
    "how many calories are there in a bowl of porridge",
    "verify my identity without a passport, is that possible",
    "kannst du das Radio in der Küche leiser machen",
    "what did I spend on groceries in September",
    "order the usual from the Thai place",
    "my phone was stolen and the banking app was open on it; block everything that you can",
    "how do I get the smell of smoke out of a wool coat",
    "yep, do it",
    "no, the other one",
    "what's the weather like in 東京 right now",
    "cancel the standing order to the gym, I left it in spring",
    "exchange 300 dollars for pounds as soon as the rate is better than 0.80",
    "is it safe to put this pan into the oven",
    "start the vacuum cleaner downstairs but leave out the nursery",
    "where's my parcel?",
    "add a second person to my current account",
    "top up my transit card with fifteen euros 🚋",
    "how long does a cheque take to clear these days",
    "I do not recognise a payment called 'SQ *MKT 0417' on my statement from the third",
    "call mum",
    "what does 'amortisation' mean, in plain words, and does it matter to somebody who has "
    "a mortgage for twenty-five years at a rate that is fixed for only the first five of them?",
    "turn the bathroom fan on for half an hour whenever the humidity is over seventy percent, "
    "except between eleven at night and six in the morning",
    "show me flights from Porto to Kraków in the second week of May, not before nine, with one "
    "checked bag and no change in Frankfurt if that can be avoided",
    "I sent money to the wrong person because two of my contacts are both called Sam; the first "
    "has told me that she would gladly send it back, but her bank says it needs a request from "
    "mine, so how do I make one and how long will the whole thing take?",
]
