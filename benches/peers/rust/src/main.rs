//! rten and candle for compare.py, as `engines.py` is for the peers of Python: the same arguments, requests and
//! answers.
//!
//!     rust-peers ENGINE MODEL CONVERTED THREADS
//!
//! A crate outside the workspace, so that nobody who builds batchwright builds these.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config as BertConfig};
use candle_transformers::models::distilbert::{Config as DistilConfig, DistilBertModel};
use rten::{Model, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::NdTensor;
use serde_json::{Value, json};
use tokenizers::{Tokenizer, TruncationParams};

/// Rows of padded ids and their mask.
struct Batch {
    rows: usize,
    tokens: usize,
    ids: Vec<i32>,
    mask: Vec<i32>,
}

impl Batch {
    fn of(texts: &[&[u32]]) -> Self {
        let tokens = texts.iter().map(|t| t.len()).max().unwrap_or(0);
        let mut ids = vec![0; texts.len() * tokens];
        let mut mask = ids.clone();
        for (row, text) in texts.iter().enumerate() {
            for (at, &id) in text.iter().enumerate() {
                ids[row * tokens + at] = id as i32;
                mask[row * tokens + at] = 1;
            }
        }
        Self { rows: texts.len(), tokens, ids, mask }
    }
}

/// What runs one batch: normalised vectors, one after the other.
trait Network: Sync {
    fn run(&self, worker: usize, batch: &Batch) -> Result<Vec<f32>>;
}

struct Rten {
    model: Model,
    pools: Vec<Arc<ThreadPool>>,
    typed: bool,
}

impl Rten {
    fn load(graph: &Path, workers: usize, threads: usize) -> Result<Self> {
        let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(graph)?;
        let pools = (0..workers).map(|_| Arc::new(ThreadPool::with_num_threads(threads))).collect();
        let typed = model.input_ids().len() == 3;
        Ok(Self { model, pools, typed })
    }
}

impl Network for Rten {
    fn run(&self, worker: usize, batch: &Batch) -> Result<Vec<f32>> {
        let shape = [batch.rows, batch.tokens];
        let mut inputs = vec![
            (self.model.node_id("input_ids")?, NdTensor::from_data(shape, batch.ids.clone()).into()),
            (self.model.node_id("attention_mask")?, NdTensor::from_data(shape, batch.mask.clone()).into()),
        ];
        if self.typed {
            inputs.push((self.model.node_id("token_type_ids")?, NdTensor::<i32, 2>::zeros(shape).into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pools[worker])));
        let [out] = self.model.run_n(inputs, [self.model.node_id("embedding")?], Some(options))?;
        let out: NdTensor<f32, 2> = out.try_into()?;
        Ok(out.to_vec())
    }
}

enum Candle {
    Bert(BertModel),
    Distil(DistilBertModel),
}

impl Candle {
    fn load(model: &Path) -> Result<Self> {
        let config = fs::read_to_string(model.join("config.json"))?;
        let file = model.join("model.safetensors");
        // SAFETY: nobody writes to the checkpoint while it is measured.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[file], DType::F32, &Device::Cpu)? };
        Ok(if config.contains("DistilBert") {
            Self::Distil(DistilBertModel::load(weights, &serde_json::from_str::<DistilConfig>(&config)?)?)
        } else {
            Self::Bert(BertModel::load(weights, &serde_json::from_str::<BertConfig>(&config)?)?)
        })
    }
}

impl Network for Candle {
    fn run(&self, _worker: usize, batch: &Batch) -> Result<Vec<f32>> {
        let shape = (batch.rows, batch.tokens);
        let ids = Tensor::from_vec(batch.ids.iter().map(|&id| id as u32).collect(), shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(batch.mask.iter().map(|&m| m as u8).collect::<Vec<_>>(), shape, &Device::Cpu)?;
        let states = match self {
            Self::Bert(model) => model.forward(&ids, &ids.zeros_like()?, Some(&mask))?,
            // Its mask says what is left out, for [rows, heads, tokens, tokens].
            Self::Distil(model) => model.forward(&ids, &mask.eq(0u8)?.unsqueeze(1)?.unsqueeze(1)?)?,
        };
        let kept = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let sum = states.broadcast_mul(&kept)?.sum(1)?;
        let length = sum.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(sum.broadcast_div(&length)?.flatten_all()?.to_vec1()?)
    }
}

struct Engine {
    name: String,
    model: PathBuf,
    converted: PathBuf,
    threads: usize,
    tokenizer: Tokenizer,
    network: Option<Box<dyn Network>>,
    workers: usize,
    batch: usize,
}

impl Engine {
    fn new(arguments: &[String]) -> Result<Self> {
        let [name, model, converted, threads] = arguments else {
            bail!("rust-peers ENGINE MODEL CONVERTED THREADS");
        };
        let model = PathBuf::from(model);
        let mut tokenizer = Tokenizer::from_file(model.join("tokenizer.json")).map_err(anyhow::Error::msg)?;
        tokenizer.with_padding(None);
        let cut = TruncationParams { max_length: 256, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(cut)).map_err(anyhow::Error::msg)?;
        Ok(Self {
            name: name.clone(),
            model,
            converted: converted.into(),
            threads: threads.parse()?,
            tokenizer,
            network: None,
            workers: 1,
            batch: 32,
        })
    }

    fn space(&self) -> Value {
        // candle's products share one pool of the process, so it has one worker.
        let (graphs, layouts) = match self.name.as_str() {
            "rten" => (vec!["plain.onnx"], json!([[1, self.threads], [self.threads, 1]])),
            "rten-int8" => (vec!["plain-s8-channels.onnx"], json!([[1, self.threads], [self.threads, 1]])),
            _ => (vec!["model.safetensors"], json!([[1, self.threads]])),
        };
        json!({"graph": graphs, "layout": layouts, "batch": [32, 8]})
    }

    fn load(&mut self, setting: &Value) -> Result<()> {
        let number = |value: &Value| value.as_u64().map(|n| n as usize).context("a number");
        let graph = setting["graph"].as_str().context("graph")?;
        self.workers = number(&setting["layout"][0])?;
        self.batch = number(&setting["batch"])?;
        self.network = None;
        self.network = Some(if self.name == "candle" {
            Box::new(Candle::load(&self.model)?)
        } else {
            Box::new(Rten::load(&self.converted.join(graph), self.workers, number(&setting["layout"][1])?)?)
        });
        Ok(())
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let network = self.network.as_deref().context("nothing is loaded")?;
        let encoded = self
            .tokenizer
            .encode_batch_fast(texts.iter().map(String::as_str).collect(), true)
            .map_err(anyhow::Error::msg)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(encoded[i].len()));
        let batches: Vec<&[usize]> = order.chunks(self.batch).collect();
        let next = AtomicUsize::new(0);
        let work = |worker: usize| -> Result<Vec<(usize, Vec<f32>)>> {
            let mut out = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let rows: Vec<&[u32]> = batch.iter().map(|&i| encoded[i].get_ids()).collect();
                let flat = network.run(worker, &Batch::of(&rows))?;
                let width = flat.len() / batch.len();
                out.extend(batch.iter().zip(flat.chunks(width)).map(|(&i, row)| (i, row.to_vec())));
            }
            Ok(out)
        };
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.workers).map(|worker| scope.spawn(move || work_of(&work, worker))).collect();
            threads.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?).collect::<Result<Vec<_>>>()
        })?;
        let mut out = vec![Vec::new(); texts.len()];
        for (i, row) in parts.into_iter().flatten() {
            out[i] = row;
        }
        Ok(out)
    }

    fn answer(&mut self, request: &Value) -> Result<Value> {
        if request.get("space").is_some() {
            return Ok(json!({"space": self.space()}));
        }
        if let Some(setting) = request.get("load") {
            self.load(setting)?;
            return Ok(json!({}));
        }
        if let Some(file) = request.get("embed") {
            let texts = texts(file)?;
            let started = Instant::now();
            let vectors = self.embed(&texts)?;
            let seconds = started.elapsed().as_secs_f64();
            if let Some(path) = request["vectors"].as_str() {
                save(path, &vectors)?;
            }
            return Ok(json!({"seconds": seconds}));
        }
        if let Some(file) = request.get("single") {
            let network = self.network.as_deref().context("nothing is loaded")?;
            let mut times = Vec::new();
            for text in texts(file)? {
                let started = Instant::now();
                let encoded = self.tokenizer.encode_fast(text, true).map_err(anyhow::Error::msg)?;
                network.run(0, &Batch::of(&[encoded.get_ids()]))?;
                times.push(started.elapsed().as_secs_f64());
            }
            let warm = request["warm"].as_u64().unwrap_or(0) as usize;
            return Ok(json!({"times": times[warm..]}));
        }
        // The high-water mark of the kernel, in kB.
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find(|l| l.starts_with("VmHWM")).context("VmHWM")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("VmHWM")?.parse()?;
        Ok(json!({"bytes": kilobytes * 1024}))
    }
}

/// Lets every thread of the scope borrow the same closure.
fn work_of<T>(work: &(impl Fn(usize) -> T + Sync), worker: usize) -> T {
    work(worker)
}

fn texts(file: &Value) -> Result<Vec<String>> {
    Ok(serde_json::from_str(&fs::read_to_string(file.as_str().context("a file's name")?)?)?)
}

/// Writes f32 rows as NumPy's format, version 1.
fn save(path: &str, rows: &[Vec<f32>]) -> Result<()> {
    let width = rows.first().map_or(0, Vec::len);
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", rows.len());
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend(u16::try_from(head.len())?.to_le_bytes());
    out.extend(head.as_bytes());
    out.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    Ok(fs::write(path, out)?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut engine = Engine::new(&arguments)?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = engine.answer(&serde_json::from_str(&line?)?)?;
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
