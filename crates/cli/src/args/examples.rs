//! The examples at the end of each command's `--help`.

pub(super) const PREDICT: &str = "\
Examples:
  batchwright predict tickets.csv -m ./my-model -o answers.parquet
  batchwright predict tickets.csv -m ./my-classifier --task embed -o vectors.parquet";

pub(super) const EMBED: &str = "\
Examples:
  batchwright embed queries.csv -o vectors.parquet
  batchwright embed 'logs/*.jsonl.gz' --text-column message --vector-type f16 -o vectors.parquet
  cat questions.txt | batchwright embed - --input-format lines > vectors.jsonl
  batchwright embed passages.parquet -m intfloat/multilingual-e5-small --prompt 'passage: ' -o v.parquet

Killed or interrupted? Run the same command again: it continues where it was.";

pub(super) const CLASSIFY: &str = "\
Examples:
  batchwright classify tickets.csv -m ./my-classifier -o labels.csv
  batchwright classify tickets.csv -m ./my-classifier --top-k 3 -o labels.jsonl
  batchwright classify comments.csv -m roberta-base-go_emotions --threshold 0.3 -o emotions.parquet
  batchwright classify claims.csv -m ./nli --text-column premise --pair-column hypothesis";

pub(super) const RERANK: &str = "\
Examples:
  batchwright rerank pairs.csv -m ms-marco-MiniLM-L6-v2 \\
      --text-column query --pair-column passage -o scores.csv";

pub(super) const TAG: &str = "\
Examples:
  batchwright tag articles.jsonl -m distilbert-NER -o entities.jsonl
  batchwright tag articles.jsonl -m distilbert-NER --aggregation first --threshold 0.8";
