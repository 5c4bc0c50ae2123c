//! Texts to compare models on where the user gives none: short and long, questions and statements, several
//! fields and a few languages. They say whether something is broken; what a model loses on a user's own
//! texts, those alone can say.

use batchwright::Input;

const SENTENCES: [&str; 48] = [
    "turn on the lights",
    "what is my balance",
    "how do I reset my password?",
    "cancel my order, please",
    "thanks!",
    "When does the last train to Lyon leave on Sundays?",
    "The parcel arrived two days late and the box was torn open.",
    "I would like to change the address of my delivery to my office.",
    "The battery does not hold its charge for more than an hour.",
    "Best headphones I have owned so far; worth every penny.",
    "Terrible service. Nobody answered the phone for forty minutes.",
    "It does what it should, no more and no less.",
    "translate good morning into japanese",
    "set an alarm for half past six tomorrow",
    "why was my card declined at the supermarket",
    "transfer 250 dollars from savings to checking",
    "is it going to rain in Edinburgh this weekend",
    "play something quiet by Erik Satie",
    "What is the boiling point of water at an altitude of 3,000 metres?",
    "Photosynthesis turns carbon dioxide and water into sugar and oxygen.",
    "The mitochondrion is where a cell makes most of its chemical energy.",
    "In 1905 Albert Einstein published four papers that changed physics.",
    "Marie Curie was born in Warsaw and moved to Paris to study.",
    "Tokyo, Delhi and Shanghai are the largest cities of the world.",
    "The central bank left its interest rate unchanged on Thursday.",
    "Shares of the company fell by 7.4 % after it had lowered its forecast.",
    "The court ruled that the contract was void from the beginning.",
    "Either party may terminate this agreement with thirty days' notice in writing.",
    "Take one tablet twice a day with food; do not exceed the stated dose.",
    "The patient reports a dull pain in the lower back since Monday.",
    "Add the flour little by little and stir until the batter is smooth.",
    "Simmer the lentils for twenty minutes, then season with salt and lemon.",
    "She closed the book, looked out of the window, and said nothing for a long time.",
    "The old man was thin and gaunt, with deep wrinkles in the back of his neck.",
    "It was raining so hard that we could not see the houses across the street.",
    "The striker scored twice in the last ten minutes of the final.",
    "error: cannot borrow `x` as mutable more than once at a time",
    "def mean(values): return sum(values) / len(values)",
    "SELECT name, count(*) FROM orders GROUP BY name ORDER BY 2 DESC",
    "https://example.com/docs/install?version=2.1#linux",
    "Wo ist der nächste Bahnhof?",
    "Je voudrais une table pour deux personnes, s'il vous plaît.",
    "¿Cuánto cuesta el billete de ida y vuelta?",
    "Il treno per Bologna parte dal binario quattro.",
    "今日はとても暑いですね。",
    "👍 great, see you at 8pm!!",
    "Neural networks that read text turn it into tokens first, then into vectors; layer after layer each \
     vector takes up what the others around it say, until the last layer's vectors hold the meaning of each \
     word in its place. What is then done with them depends on the task: their mean stands for the whole \
     text, or the first one decides about a label.",
    "The committee met three times in the spring to discuss the proposal for a new library. Its members \
     agreed that the present building, which dates from 1931, is too small and cannot be heated at a \
     reasonable cost. They did not agree on where the new one should stand: some prefer the square in front \
     of the town hall, others the former brewery by the river, whose thick walls would keep the books cool \
     in summer. A decision is expected before the end of the year.",
];

/// Queries of which each has its answer among the sentences.
const QUERIES: [&str; 6] = [
    "how do plants make sugar",
    "who was Marie Curie",
    "how to cook lentils",
    "can I end the contract early",
    "why are the shares down",
    "where will the new library be built",
];

/// The texts as they are.
pub(super) fn texts() -> Vec<Input> {
    SENTENCES.into_iter().map(Input::from).collect()
}

/// Every query with every sentence.
pub(super) fn pairs() -> Vec<Input> {
    let passages = |query: &'static str| {
        SENTENCES
            .into_iter()
            .map(move |passage| Input::Pair(query.to_owned(), passage.to_owned()))
    };
    QUERIES.into_iter().flat_map(passages).collect()
}
