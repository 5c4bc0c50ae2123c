//! What was meant: the flags of `tokenize` and `augment` turned into settings, with everything refused that
//! contradicts itself, before anything is read.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use catalogue::Network;
use data::{
    CarryText, ColumnChoice, ERROR_COLUMN, Format, InputSpec, SinkFormat, Source, SurveyDepth,
};
use text::augment::{Augmenter, Recipe};
use text::characters::SpecialTokens;

use super::edits::{Counting, Edits};
use super::vocabulary_file;
use crate::args::{
    AugmentArgs, EditArgs, GeneralArgs, IdType, OnError, RowsInputArgs, RowsOutputArgs, TokenArgs,
    TokenizeArgs,
};
use crate::plan::{Target, named, refuse_texts_called_error, refuse_to_write_over, target};

/// The files that are read for tokens.
fn token_files(args: &TokenArgs) -> impl Iterator<Item = (&'static str, PathBuf)> {
    let model = args.tokenize.iter().flat_map(|words| {
        let path = PathBuf::from(words);
        [path.join("tokenizer.json"), path]
    });
    let vocabulary = args.vocabulary.iter().cloned();
    model
        .map(|path| ("--tokenize", path))
        .chain(vocabulary.map(|path| ("--vocabulary", path)))
}

/// Everything that a run needs to know.
pub(super) struct RowsPlan {
    /// The command's name.
    pub(super) command: &'static str,
    pub(super) input: InputSpec,
    pub(super) edits: Option<Edits>,
    pub(super) recipe: Option<Recipe>,
    pub(super) spans_column: Option<String>,
    pub(super) tokens: Option<TokensPlan>,
    pub(super) output: OutputPlan,
    pub(super) reports: Reports,
    /// Flags and the files that are read for them, beside the input.
    reads: Vec<(&'static str, PathBuf)>,
    pub(super) threads: usize,
    /// What the output depends on beside the input, as it is shown where it differs.
    pub(super) options: BTreeMap<String, String>,
}

/// Which tokens are wanted.
pub(super) struct TokensPlan {
    pub(super) of: TokensOf,
    pub(super) width: Option<usize>,
    pub(super) dtype: Option<IdType>,
}

pub(super) enum TokensOf {
    /// Characters, of a vocabulary that is given.
    Vocabulary(PathBuf),
    /// Characters, of a vocabulary that is made with these special tokens.
    Data(SpecialTokens),
    /// A model's.
    Model(String, Network),
}

/// Where rows go.
pub(super) struct OutputPlan {
    pub(super) kind: OutputKind,
    pub(super) on_error: OnError,
    pub(super) restart: bool,
    pub(super) rows_per_shard: Option<NonZeroUsize>,
    pub(super) summary_json: Option<PathBuf>,
    pub(super) profile: bool,
}

pub(super) enum OutputKind {
    /// One array of ids.
    Array(PathBuf),
    /// Rows with columns.
    Rows(Target, SinkFormat),
}

/// What is told about edits.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) preview: Option<usize>,
    pub(super) shown: bool,
    pub(super) json: Option<PathBuf>,
    pub(super) svg: Option<PathBuf>,
}

impl RowsPlan {
    pub(super) fn tokenize(args: TokenizeArgs, general: &GeneralArgs) -> anyhow::Result<Self> {
        let tokens = TokensPlan::new(&args.tokens, Some("characters"), general)?;
        let output = OutputPlan::new(&args.output)?;
        let mut input = input(&args.input, &args.output, &output)?;
        if matches!(output.kind, OutputKind::Array(_)) {
            input.columns.keep = Some(Vec::new());
        }
        let plan = Self {
            command: "tokenize",
            input,
            edits: None,
            recipe: None,
            spans_column: None,
            tokens,
            output,
            reports: Reports::default(),
            reads: token_files(&args.tokens).collect(),
            threads: threads(general)?,
            options: BTreeMap::new(),
        };
        plan.check()?;
        Ok(plan)
    }

    pub(super) fn augment(args: AugmentArgs, general: &GeneralArgs) -> anyhow::Result<Self> {
        let tokens = TokensPlan::new(&args.tokens, None, general)?;
        let output = OutputPlan::new(&args.output)?;
        let mut input = input(&args.input, &args.output, &output)?;
        let spans_column = args.edits.spans_column.clone();
        if matches!(output.kind, OutputKind::Array(_)) {
            input.columns.keep = Some(Vec::new());
        } else if let (Some(spans), Some(keep)) = (&spans_column, &mut input.columns.keep)
            && !keep.contains(spans)
        {
            keep.push(spans.clone());
        }
        let reports = Reports {
            preview: args.report.preview.map(NonZeroUsize::get),
            shown: args.report.report,
            json: args.report.report_json,
            svg: args.report.report_svg,
        };
        let counting = match reports.shown || reports.json.is_some() || reports.svg.is_some() {
            true => Counting::Everything,
            false => Counting::Totals,
        };
        let (recipe, recipe_files) = recipe(&args.edits.recipe)?;
        let edits = edits(&args.edits, &recipe, counting)?;
        // The text stands in the output as it is after editing.
        input.columns.carry_text = CarryText::Dropped;
        // As many rows and bytes of the output at once as without copies.
        input.chunk_rows = (input.chunk_rows / edits.per_row()).max(1);
        input.limits.chunk_bytes = (input.limits.chunk_bytes / edits.per_row()).max(1);
        let options = options(&args.edits, &recipe);
        let plan = Self {
            command: "augment",
            input,
            edits: Some(edits),
            recipe: Some(recipe),
            spans_column,
            tokens,
            output,
            reports,
            reads: token_files(&args.tokens)
                .chain(recipe_files.into_iter().map(|path| ("--recipe", path)))
                .collect(),
            threads: threads(general)?,
            options,
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> anyhow::Result<()> {
        let is_array = matches!(self.output.kind, OutputKind::Array(_));
        match &self.tokens {
            None if is_array => {
                bail!(".npy holds token ids alone: say --tokenize characters, or whose tokens")
            }
            Some(tokens) => match &tokens.of {
                TokensOf::Model(..) if is_array && tokens.width.is_none() => bail!(
                    "the rows of an array have one width: say --width, such as 64, or write lists to \
                     .parquet"
                ),
                TokensOf::Data(_) if self.reports.preview.is_none() && self.writes_to_stdout() => {
                    bail!(
                        "ids are of no use without their vocabulary, which is written beside the output: \
                         name one with -o, or give a vocabulary with --vocabulary"
                    )
                }
                _ => {}
            },
            None => {}
        }
        if is_array && self.spans_column.is_some() {
            bail!(
                ".npy holds token ids alone, and no spans: leave --spans-column out, or write .parquet"
            );
        }
        Ok(())
    }

    fn writes_to_stdout(&self) -> bool {
        matches!(self.output.kind, OutputKind::Rows(Target::Stdout, _))
    }

    /// Opens the input, refusing what would be written over.
    pub(super) fn open(&self) -> anyhow::Result<Source> {
        let vocabulary = self.vocabulary_path();
        let written = [
            ("-o", self.path()),
            ("-o", vocabulary.as_deref()),
            ("--summary-json", self.output.summary_json.as_deref()),
            ("--report-json", self.reports.json.as_deref()),
            ("--report-svg", self.reports.svg.as_deref()),
        ];
        refuse_to_write_over(&written, &self.input)?;
        let is_given =
            matches!(&self.tokens, Some(tokens) if matches!(tokens.of, TokensOf::Vocabulary(_)));
        // The vocabulary of another run may be the one to use, and is written as it was.
        let others = written.map(|(flag, path)| {
            (
                flag,
                path.filter(|path| !is_given || Some(*path) != vocabulary.as_deref()),
            )
        });
        self.check_read(&others)?;
        if let Some(path) = &vocabulary {
            vocabulary_file::refuse_another(path)?;
        }
        // Once: what standard input has given it does not give again.
        let source = Source::open(&self.input)?;
        if let OutputKind::Rows(..) = self.output.kind {
            refuse_texts_called_error(&source)?;
            self.refuse_edits_called_error(&source)?;
        }
        Ok(source)
    }

    /// Refuses edited columns that would stand in the output beside that of errors.
    fn refuse_edits_called_error(&self, source: &Source) -> anyhow::Result<()> {
        if self.edits.is_none() {
            return Ok(());
        }
        let holds = match (source.text_columns().0, self.spans_column.as_deref()) {
            (ERROR_COLUMN, _) => "texts",
            (_, Some(ERROR_COLUMN)) => "spans",
            _ => return Ok(()),
        };
        bail!(
            "the column `{ERROR_COLUMN}` holds the {holds}, and the output has a column of that name for \
             what is wrong with a row: rename it in the input"
        )
    }

    /// Refuses to write over what the job itself is made of.
    fn check_read(&self, written: &[(&str, Option<&Path>)]) -> anyhow::Result<()> {
        for (reading, read) in &self.reads {
            let Ok(read) = read.canonicalize() else {
                continue;
            };
            let same = |path: &Path| path.canonicalize().is_ok_and(|path| path == read);
            for (flag, path) in written {
                if let Some(path) = path.filter(|path| same(path)) {
                    bail!(
                        "{}: is what {reading} reads; choose another {flag}",
                        path.display()
                    );
                }
            }
        }
        Ok(())
    }

    /// The output's file, where it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.output.kind {
            OutputKind::Array(path) | OutputKind::Rows(Target::File(path), _) => Some(path),
            OutputKind::Rows(Target::Stdout, _) => None,
        }
    }

    /// Where the vocabulary of characters is written.
    pub(super) fn vocabulary_path(&self) -> Option<PathBuf> {
        let tokens = self.tokens.as_ref()?;
        let path = self.path().filter(|path| !data::is_stream(path))?;
        let of_characters = !matches!(tokens.of, TokensOf::Model(..));
        of_characters.then(|| vocabulary_file::beside(path))
    }

    /// Rows of the output for each row of the input.
    pub(super) fn per_row(&self) -> usize {
        self.edits.as_ref().map_or(1, Edits::per_row)
    }
}

impl TokensPlan {
    fn new(
        args: &TokenArgs,
        default: Option<&str>,
        general: &GeneralArgs,
    ) -> anyhow::Result<Option<Self>> {
        let Some(what) = args.tokenize.as_deref().or(default) else {
            let flags = [
                ("--width", args.width.is_some()),
                ("--vocabulary", args.vocabulary.is_some()),
                ("--dtype", args.dtype.is_some()),
                ("--special-tokens", args.special_tokens.is_some()),
            ];
            if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
                bail!("{flag} is about tokens: say --tokenize as well");
            }
            return Ok(None);
        };
        let is_made = what == "characters" && args.vocabulary.is_none();
        if args.special_tokens.is_some() && !is_made {
            bail!(
                "--special-tokens are of a vocabulary that is made, and --vocabulary or a model has its own: \
                 leave it out"
            );
        }
        let of = match (what, &args.vocabulary) {
            ("characters", Some(path)) => TokensOf::Vocabulary(path.clone()),
            ("characters", None) => TokensOf::Data(special(args.special_tokens.as_deref())?),
            (_, Some(_)) => bail!(
                "--vocabulary is of characters, and --tokenize asks for the tokens of {what}; leave one out"
            ),
            (model, None) => {
                let network = match general.offline {
                    true => Network::Offline,
                    false => Network::Allowed,
                };
                TokensOf::Model(model.to_owned(), network)
            }
        };
        let width = args.width.map(NonZeroUsize::get);
        if let Some(width) = width.filter(|width| *width > super::WIDEST) {
            bail!("--width is {width}; it is at most {}", super::WIDEST);
        }
        Ok(Some(Self {
            of,
            width,
            dtype: args.dtype,
        }))
    }
}

impl OutputPlan {
    fn new(args: &RowsOutputArgs) -> anyhow::Result<Self> {
        let is_array = |path: &&PathBuf| {
            let extension = path.extension().map(|name| name.to_ascii_lowercase());
            extension.is_some_and(|name| name == "npy")
        };
        let kind = match (&args.output, args.output_format) {
            (Some(path), None) if is_array(&path) => OutputKind::Array(path.clone()),
            (path, said) => {
                let (target, format) = target(path.clone(), said)?;
                OutputKind::Rows(target, format)
            }
        };
        let flags = [
            (
                "--keep",
                args.keep
                    .clone()
                    .is_some_and(|keep| !named(keep).is_empty()),
            ),
            ("--drop", !args.drop.is_empty()),
            ("--rows-per-shard", args.rows_per_shard.is_some()),
        ];
        if matches!(kind, OutputKind::Array(_))
            && let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given)
        {
            bail!(
                "{flag} says nothing of .npy, which holds token ids alone and has no shards: leave it out"
            );
        }
        Ok(Self {
            kind,
            on_error: args.on_error,
            restart: args.restart,
            rows_per_shard: args.rows_per_shard,
            summary_json: args.summary_json.clone(),
            profile: args.profile,
        })
    }
}

fn input(
    args: &RowsInputArgs,
    output: &RowsOutputArgs,
    plan: &OutputPlan,
) -> anyhow::Result<InputSpec> {
    Ok(InputSpec {
        paths: args.inputs.clone(),
        format: args.input_format,
        columns: ColumnChoice {
            text: args.text_column.clone(),
            pair: None,
            keep: output.keep.clone().map(named),
            drop: named(output.drop.clone()),
            carry_text: CarryText::Kept,
        },
        // JSON Lines need no header; every other output must know all columns beforehand.
        survey: match &plan.kind {
            OutputKind::Rows(_, format) if format.format() != Format::Jsonl => {
                SurveyDepth::Everything
            }
            _ => SurveyDepth::FirstRows,
        },
        ..InputSpec::default()
    })
}

fn threads(general: &GeneralArgs) -> anyhow::Result<usize> {
    match general.threads {
        None => Ok(batchwright::available_threads()),
        Some(threads @ 1..=1_024) => Ok(threads),
        Some(threads) => bail!("--threads is {threads}; it must be 1 to 1024"),
    }
}

fn special(names: Option<&[String]>) -> anyhow::Result<SpecialTokens> {
    let Some(names) = names else {
        return Ok(SpecialTokens::default());
    };
    let [pad, unknown, begin, end] = names else {
        bail!(
            "--special-tokens takes four names, of padding, unknown, begin and end, such as \
             <PAD>,<UNK>,<BEG>,<END>, and got {}",
            names.len()
        );
    };
    let ends = |name: &String| (!name.is_empty()).then(|| name.clone());
    let special = SpecialTokens {
        pad: pad.clone(),
        unknown: unknown.clone(),
        begin: ends(begin),
        end: ends(end),
    };
    match special.check() {
        Ok(()) => Ok(special),
        Err(why) => bail!("--special-tokens: {why}"),
    }
}

/// The recipe that is meant, and the files that it was read from.
fn recipe(words: &str) -> anyhow::Result<(Recipe, Vec<PathBuf>)> {
    let path = Path::new(words);
    if !words.ends_with(".toml") && !path.is_file() {
        return Ok((Recipe::named(words)?, Vec::new()));
    }
    let read = Recipe::read_with_files(path).with_context(|| format!("recipe {words}"));
    let (recipe, mut files) = read?;
    files.push(path.to_owned());
    Ok((recipe, files))
}

fn edits(args: &EditArgs, recipe: &Recipe, counting: Counting) -> anyhow::Result<Edits> {
    /// More are written by running with other seeds.
    const MOST_COPIES: u32 = 1_000;
    /// No sum of row numbers overflows.
    const MOST_ROWS: u64 = 1 << 62;
    if args.copies > MOST_COPIES {
        bail!("--copies is {}; it is at most {MOST_COPIES}", args.copies);
    }
    if args.copies == 0 && !args.include_original {
        bail!("--copies is 0: no row would be left; say --copies 1 or more, or --include-original");
    }
    if args.first_row.get() > MOST_ROWS {
        bail!(
            "--first-row is {}; it is at most {MOST_ROWS}",
            args.first_row
        );
    }
    Ok(Edits {
        augmenter: Augmenter::new(recipe, args.seed)?,
        copies: args.copies,
        include_original: args.include_original,
        first_row: args.first_row.get() - 1,
        counting,
    })
}

fn options(args: &EditArgs, recipe: &Recipe) -> BTreeMap<String, String> {
    let recipe = blake3::hash(recipe.to_toml().as_bytes()).to_hex();
    BTreeMap::from([
        ("recipe".to_owned(), data::short_hash(&recipe).to_owned()),
        ("seed".to_owned(), args.seed.to_string()),
        ("copies".to_owned(), args.copies.to_string()),
        (
            "include original".to_owned(),
            args.include_original.to_string(),
        ),
        ("first row".to_owned(), args.first_row.to_string()),
        (
            "spans column".to_owned(),
            args.spans_column.clone().unwrap_or("none".to_owned()),
        ),
    ])
}
