//! Opening the files of an input, each by its format and with the columns that were chosen.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow_schema::{Field, Schema, SchemaRef};

use crate::chunk::CarriedColumns;
use crate::source::RowReader;
use crate::source::assembly::{CarriedShape, text_schema};
use crate::source::columns::{
    JsonSelection, Selection, find_again, lacks_a_named_key, select, select_json,
};
use crate::source::csv::CsvRows;
use crate::source::files::{InputFile, agree_on_format};
use crate::source::jsonl::{JsonRows, survey_all, survey_first};
use crate::source::lines::{self, LineRows};
use crate::source::parquet::ParquetFile;
use crate::source::spec::{CarryText, ColumnChoice, InputLimits, InputSpec, SurveyDepth};
use crate::source::stream::{self, Bytes};
use crate::survey::Survey;
use crate::{DataError, Format};

/// A row limit beyond this would overflow 32-bit offsets.
const MOST_ROW_BYTES: usize = 1 << 30;

/// Knows the format and the columns, and opens one file after the other.
pub(crate) struct Opener {
    format: Format,
    /// Whether nothing but the first bytes of the first file told it.
    is_guessed: bool,
    choice: ColumnChoice,
    limits: InputLimits,
    chunk_rows: usize,
    columns: Chosen,
    carried: CarriedColumns,
    shape: CarriedShape,
    /// A stream that had to be opened to learn its columns: it cannot be opened again.
    opened: Option<Opened>,
    row_count: Option<u64>,
}

/// The chosen columns.
enum Chosen {
    Table {
        first: String,
        fields: Vec<Field>,
        selection: Selection,
    },
    Json(Arc<JsonSelection>),
}

/// A file that is open before its turn.
enum Opened {
    Bytes(Bytes),
    Csv(Box<CsvRows>),
}

impl Opener {
    /// Agrees on the format and chooses the columns; looks at every regular file's header.
    pub(crate) fn new(
        files: &[InputFile],
        spec: &InputSpec,
        read: &Arc<AtomicU64>,
    ) -> Result<Opener, DataError> {
        // `expand` gave at least one file.
        let Some(first) = files.first() else {
            return Err(DataError::NoInput);
        };
        let mut limits = spec.limits;
        limits.row_bytes = limits.row_bytes.clamp(1, MOST_ROW_BYTES);
        let mut opened = None;
        let agreed = agree_on_format(files, spec.format)?;
        let format = match agreed {
            Some(format) => format,
            None => {
                let (format, bytes) = stream::sniff(&first.name, stream::open(first, read)?)?;
                opened = Some(Opened::Bytes(bytes));
                format
            }
        };
        let mut opener = Opener {
            format,
            is_guessed: agreed.is_none(),
            choice: spec.columns.clone(),
            limits,
            chunk_rows: spec.chunk_rows.max(1),
            columns: Chosen::Table {
                first: first.name.to_string(),
                fields: Vec::new(),
                selection: Selection {
                    text: 0,
                    pair: None,
                    carried: Vec::new(),
                },
            },
            carried: CarriedColumns::none(),
            shape: CarriedShape::Json,
            opened,
            row_count: None,
        };
        match format {
            Format::Csv | Format::Tsv => opener.prepare_csv(files, read)?,
            Format::Lines => {
                let only = Field::new(lines::COLUMN, arrow_schema::DataType::Utf8, true);
                opener.choose(&first.name, vec![only])?;
            }
            Format::Parquet => opener.prepare_parquet(files)?,
            Format::Jsonl => opener.prepare_jsonl(files, spec.survey, read)?,
            Format::Arrow => {
                return Err(DataError::UnreadableFormat {
                    path: first.name.to_string(),
                    reason: "Arrow files are written but not read; save the table as Parquet"
                        .to_owned(),
                });
            }
        }
        Ok(opener)
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn is_guessed(&self) -> bool {
        self.is_guessed
    }

    pub(crate) fn carried(&self) -> &CarriedColumns {
        &self.carried
    }

    pub(crate) fn shape(&self) -> &CarriedShape {
        &self.shape
    }

    pub(crate) fn row_count(&self) -> Option<u64> {
        self.row_count
    }

    pub(crate) fn text_columns(&self) -> (&str, Option<&str>) {
        match &self.columns {
            Chosen::Table {
                fields, selection, ..
            } => {
                let name = |at: usize| fields.get(at).map_or("", |field| field.name().as_str());
                (name(selection.text), selection.pair.map(name))
            }
            Chosen::Json(selection) => (&selection.text, selection.pair.as_deref()),
        }
    }

    /// As [`Source::limit_chunks`](crate::Source::limit_chunks); for files that are not open yet.
    pub(crate) fn limit_chunks(&mut self, rows: usize, bytes: usize) {
        self.chunk_rows = rows;
        self.limits.chunk_bytes = bytes;
    }

    /// Opens file number `index`, from its first row.
    pub(crate) fn open(
        &mut self,
        index: usize,
        file: &InputFile,
        read: &Arc<AtomicU64>,
    ) -> Result<Box<dyn RowReader>, DataError> {
        let before = if index == 0 { self.opened.take() } else { None };
        let row_bytes = self.limits.row_bytes;
        match (&self.columns, self.format) {
            (_, Format::Parquet) => {
                let parquet = ParquetFile::open(file)?;
                let selection = self.selection_in(&file.name, &parquet.fields())?;
                let schema = Arc::new(Schema::new(self.carried.fields().to_vec()));
                Ok(Box::new(parquet.rows(
                    &selection,
                    &schema,
                    (self.chunk_rows, self.limits),
                    read,
                )))
            }
            (Chosen::Json(selection), _) => {
                let bytes = plain(before, file, read)?;
                Ok(Box::new(JsonRows::new(
                    &file.name, bytes, row_bytes, selection,
                )))
            }
            (Chosen::Table { selection, .. }, Format::Lines) => {
                let bytes = plain(before, file, read)?;
                Ok(Box::new(LineRows::new(
                    &file.name,
                    bytes,
                    row_bytes,
                    &selection.carried,
                )))
            }
            (Chosen::Table { .. }, _) => {
                let mut rows = match before {
                    Some(Opened::Csv(rows)) => *rows,
                    other => self.open_csv(plain(other, file, read)?, file)?,
                };
                rows.choose(self.selection_in(&file.name, &rows.fields())?);
                Ok(Box::new(rows))
            }
        }
    }

    fn open_csv(&self, bytes: Bytes, file: &InputFile) -> Result<CsvRows, DataError> {
        CsvRows::open(&file.name, bytes, self.format, self.limits.row_bytes)
    }

    /// Chooses among the columns of the first file.
    fn choose(&mut self, first: &str, fields: Vec<Field>) -> Result<(), DataError> {
        let mut selection = select(first, &fields, &self.choice)?;
        if self.drops(fields[selection.text].name()) {
            selection = select(first, &fields, &self.choice)?;
        }
        let carried: Vec<Field> = selection
            .carried
            .iter()
            .map(|&at| fields[at].clone())
            .collect();
        let schema: SchemaRef = match self.format {
            Format::Parquet => Arc::new(Schema::new(carried.clone())),
            _ => text_schema(&carried.iter().map(Field::name).collect::<Vec<_>>()),
        };
        self.shape = match self.format {
            Format::Parquet => CarriedShape::Batches(schema),
            _ => CarriedShape::Text(schema),
        };
        self.carried = CarriedColumns::table(carried);
        self.columns = Chosen::Table {
            first: first.to_owned(),
            fields,
            selection,
        };
        Ok(())
    }

    /// Whether the choice has changed: the text column, whose name is known only now, is left out.
    fn drops(&mut self, text: &str) -> bool {
        let drops = self.choice.carry_text == CarryText::Dropped;
        if drops {
            self.choice.drop.push(text.to_owned());
        }
        drops
    }

    /// The chosen columns, where a later file has them.
    fn selection_in(&self, name: &str, fields: &[Field]) -> Result<Selection, DataError> {
        match &self.columns {
            Chosen::Table {
                first,
                fields: known,
                selection,
            } => find_again((first, known), selection, (name, fields), &self.choice),
            Chosen::Json(_) => Ok(Selection {
                text: 0,
                pair: None,
                carried: Vec::new(),
            }),
        }
    }

    fn prepare_csv(&mut self, files: &[InputFile], read: &Arc<AtomicU64>) -> Result<(), DataError> {
        for (index, file) in files.iter().enumerate() {
            if index > 0 && !file.is_repeatable() {
                continue;
            }
            let rows = self.open_csv(stream::open(file, read)?, file)?;
            if index == 0 {
                self.choose(&file.name, rows.fields())?;
                if !file.is_repeatable() {
                    self.opened = Some(Opened::Csv(Box::new(rows)));
                }
            } else {
                self.selection_in(&file.name, &rows.fields())?;
            }
        }
        Ok(())
    }

    fn prepare_parquet(&mut self, files: &[InputFile]) -> Result<(), DataError> {
        let mut rows = 0;
        for (index, file) in files.iter().enumerate() {
            if !file.is_repeatable() {
                return Err(DataError::UnreadableFormat {
                    path: file.name.to_string(),
                    reason: stream::PARQUET_NEEDS_A_FILE.to_owned(),
                });
            }
            let parquet = ParquetFile::open(file)?;
            rows += parquet.row_count();
            if index == 0 {
                self.choose(&file.name, parquet.fields())?;
            } else {
                self.selection_in(&file.name, &parquet.fields())?;
            }
        }
        self.row_count = Some(rows);
        Ok(())
    }

    fn prepare_jsonl(
        &mut self,
        files: &[InputFile],
        depth: SurveyDepth,
        read: &Arc<AtomicU64>,
    ) -> Result<(), DataError> {
        let repeatable = files.iter().all(InputFile::is_repeatable);
        let survey = if depth == SurveyDepth::Everything && repeatable {
            self.survey_everything(files, read)?
        } else {
            let survey = self.survey_first_rows(files, read)?;
            // A key that is asked for may come in a later row, or be a typing error: only all rows tell.
            if repeatable && !survey.complete && lacks_a_named_key(&survey, &self.choice) {
                self.survey_everything(files, read)?
            } else {
                survey
            }
        };
        let mut selection = select_json(&survey, &self.choice)?;
        if self.drops(&selection.text) {
            selection = select_json(&survey, &self.choice)?;
        }
        self.carried = CarriedColumns::json(selection.carried.clone());
        self.shape = CarriedShape::Json;
        self.columns = Chosen::Json(Arc::new(selection));
        Ok(())
    }
}

impl Opener {
    fn survey_everything(
        &self,
        files: &[InputFile],
        read: &Arc<AtomicU64>,
    ) -> Result<Survey, DataError> {
        let mut survey = Survey::default();
        survey.complete = true;
        for file in files {
            let bytes = stream::open(file, read)?;
            survey_all(&file.name, bytes, self.limits.row_bytes, &mut survey)?;
        }
        Ok(survey)
    }

    /// Looks at the first rows of the first file; a stream stays open from its first row on.
    fn survey_first_rows(
        &mut self,
        files: &[InputFile],
        read: &Arc<AtomicU64>,
    ) -> Result<Survey, DataError> {
        let mut survey = Survey::default();
        if let Some(first) = files.first() {
            let bytes = plain(self.opened.take(), first, read)?;
            let bytes = survey_first(bytes, self.limits.row_bytes, &mut survey);
            survey.complete &= files.len() == 1;
            if !first.is_repeatable() {
                self.opened = Some(Opened::Bytes(bytes));
            }
        }
        Ok(survey)
    }
}

/// The bytes of a file that may be open already.
fn plain(
    opened: Option<Opened>,
    file: &InputFile,
    read: &Arc<AtomicU64>,
) -> Result<Bytes, DataError> {
    match opened {
        Some(Opened::Bytes(bytes)) => Ok(bytes),
        _ => stream::open(file, read),
    }
}
