//! How fast the kernels are, as a share of the machine's measured peak and beside the `gemm` crate.
//!
//! ```text
//! cargo run --release -p batchwright-kernels --example kernel_bench
//! cargo run --release -p batchwright-kernels --example kernel_bench -- avx2
//! cargo run --release -p batchwright-kernels --example kernel_bench -- avx2 integers
//! ```
//!
//! Every figure is the median of several runs which alternate with those of the crate that it is
//! compared with, because machines drift; and time is the thread's own processor time, so that other
//! processes on the machine show less. One worker per core, each with its own rows, is how
//! batches run; the two-core column does that.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints tables, and its sizes are its own"
)]

use std::hint::black_box;

use batchwright_kernels::{
    Activation, AlignedVec, AttentionInput, AttentionScratch, Cpu, Epilogue, IntegerLinear, Isa,
    LayerNorm, Linear, LinearPart, QuantizeScratch, Solo, Width, activate, attention, layer_norm,
    peak_gflops,
};

/// Rounds over which the median is taken.
const ROUNDS: usize = 9;
/// A round repeats its work until this many seconds have passed.
const SECONDS: f64 = 0.03;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let isa = match std::env::args().nth(1) {
        Some(name) => name.parse()?,
        None => Isa::detect(),
    };
    let cores = std::thread::available_parallelism()?.get();
    let peaks = [peak_gflops(isa, 1), peak_gflops(isa, 2)];
    println!("{} · {cores} cores · {isa}", processor());
    println!(
        "peak f32: {:.1} GFLOP/s on one core, {:.1} on two\n",
        peaks[0], peaks[1]
    );

    // One table, or all.
    let only = std::env::args().nth(2);
    let wanted = |table: &str| only.as_deref().is_none_or(|only| only == table);
    if wanted("products") {
        products(isa, peaks);
    }
    if wanted("integers") {
        integers(isa, peaks[0]);
    }
    if wanted("layers") {
        layers(isa);
    }
    if wanted("attention") {
        attentions(isa, peaks[0]);
    }
    if wanted("passes") {
        passes(isa);
    }
    Ok(())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.map_or("unknown processor", |name| {
        name.trim_start_matches([' ', '\t', ':'])
    })
    .to_owned()
}

fn noise(count: usize) -> AlignedVec<f32> {
    let mut state = 0x9E37_79B9u32;
    let mut values = AlignedVec::new_zeroed(count);
    for value in values.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / 8_388_608.0 - 1.0;
    }
    values
}

/// Seconds of processor time that this thread has used.
#[cfg(unix)]
fn thread_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Seconds that have passed.
#[cfg(not(unix))]
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START
        .get_or_init(std::time::Instant::now)
        .elapsed()
        .as_secs_f64()
}

/// Seconds of one call, over enough calls to be measured.
fn seconds(mut work: impl FnMut()) -> f64 {
    let start = thread_seconds();
    let mut calls = 0;
    while thread_seconds() - start < SECONDS {
        work();
        calls += 1;
    }
    (thread_seconds() - start) / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Copy, Clone)]
struct Shape {
    name: &'static str,
    rows: usize,
    depth: usize,
    columns: usize,
    end: End,
}

#[derive(Copy, Clone)]
enum End {
    Bias,
    Gelu,
    Residual,
}

impl Shape {
    /// Billions of multiplications and additions.
    fn operations(&self) -> f64 {
        2.0 * (self.rows * self.depth * self.columns) as f64 / 1e9
    }
}

impl End {
    fn epilogue(self, residual: &[f32]) -> Epilogue<'_> {
        match self {
            End::Bias => Epilogue::Bias,
            End::Gelu => Epilogue::Activate(Activation::GeluErf),
            End::Residual => Epilogue::Residual(residual),
        }
    }
}

const fn shape(name: &'static str, rows: usize, depth: usize, columns: usize, end: End) -> Shape {
    Shape {
        name,
        rows,
        depth,
        columns,
        end,
    }
}

const SHAPES: [Shape; 12] = [
    shape("MiniLM qkv", 192, 384, 1152, End::Bias),
    shape("MiniLM attention out", 192, 384, 384, End::Residual),
    shape("MiniLM up, gelu", 192, 384, 1536, End::Gelu),
    shape("MiniLM down, residual", 192, 1536, 384, End::Residual),
    shape("MiniLM up, no gelu", 192, 384, 1536, End::Bias),
    shape("BERT-base qkv", 192, 768, 2304, End::Bias),
    shape("BERT-base up, gelu", 192, 768, 3072, End::Gelu),
    shape("BERT-base down", 192, 3072, 768, End::Residual),
    shape("MiniLM qkv, 1 row", 1, 384, 1152, End::Bias),
    shape("MiniLM qkv, 11 rows", 11, 384, 1152, End::Bias),
    shape("MiniLM qkv, 200 rows", 200, 384, 1152, End::Bias),
    shape("MiniLM qkv, 4096 rows", 4096, 384, 1152, End::Bias),
];

fn products(isa: Isa, peaks: [f64; 2]) {
    println!(
        "| product | rows × K × columns | GFLOP/s | of peak | two cores | of peak | `gemm` | ours/gemm |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for shape in SHAPES {
        let Shape {
            name,
            rows,
            depth,
            columns,
            ..
        } = shape;
        let flops = shape.operations();
        let weight = noise(columns * depth);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut run = Run::new(isa, shape, &weight);
        let (x, mut y) = (noise(rows * depth), noise(rows * columns));
        for _ in 0..ROUNDS {
            ours.push(flops / seconds(|| run.once()));
            theirs.push(flops / seconds(|| other(shape, &x, &weight, &mut y)));
        }
        let pair = (0..ROUNDS / 2)
            .map(|_| flops * on_two_cores(isa, shape, &weight))
            .collect();
        let (ours, pair, theirs) = (median(ours), median(pair), median(theirs));
        println!(
            "| {name} | {rows} × {depth} × {columns} | {ours:.1} | {:.1} % | {pair:.1} | {:.1} % | {theirs:.1} | {:.2} |",
            100.0 * ours / peaks[0],
            100.0 * pair / peaks[1],
            ours / theirs
        );
    }
    println!();
}

/// A product with its own buffers, as one worker has them.
struct Run {
    linear: Linear,
    x: AlignedVec<f32>,
    residual: AlignedVec<f32>,
    y: AlignedVec<f32>,
    end: End,
}

impl Run {
    fn new(isa: Isa, shape: Shape, weight: &[f32]) -> Run {
        let bias = noise(shape.columns);
        let linear = Linear::pack(isa, weight, Some(&bias), shape.columns, shape.depth);
        Run {
            linear: linear.expect("sizes agree"),
            x: noise(shape.rows * shape.depth),
            residual: noise(shape.rows * shape.columns),
            y: AlignedVec::new_zeroed(shape.rows * shape.columns),
            end: shape.end,
        }
    }

    fn once(&mut self) {
        let epilogue = self.end.epilogue(&self.residual);
        let done = self
            .linear
            .apply(&Solo, black_box(&self.x), epilogue, &mut self.y);
        done.expect("sizes agree");
    }
}

/// Products per second of two workers together.
fn on_two_cores(isa: Isa, shape: Shape, weight: &[f32]) -> f64 {
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let workers = [(), ()].map(|()| {
            scope.spawn(|| {
                let mut run = Run::new(isa, shape, weight);
                barrier.wait();
                1.0 / seconds(|| run.once())
            })
        });
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .sum()
    })
}

/// The bare product with the `gemm` crate, one thread: no bias, no epilogue.
fn other(shape: Shape, x: &[f32], weight: &[f32], y: &mut [f32]) {
    let Shape {
        rows,
        depth,
        columns,
        ..
    } = shape;
    let product = gemm_f32::gemm::f32::get_gemm_fn();
    // SAFETY: the slices hold the matrices that the strides describe.
    unsafe {
        product(
            rows,
            columns,
            depth,
            y.as_mut_ptr(),
            1,
            columns as isize,
            false,
            black_box(x.as_ptr()),
            1,
            depth as isize,
            weight.as_ptr(),
            depth as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

const INTEGER_SHAPES: [Shape; 12] = [
    shape("MiniLM qkv", 192, 384, 1152, End::Bias),
    shape("MiniLM attention out", 192, 384, 384, End::Residual),
    shape("MiniLM up, gelu", 192, 384, 1536, End::Gelu),
    shape("MiniLM down, residual", 192, 1536, 384, End::Residual),
    shape("MiniLM up, no gelu", 192, 384, 1536, End::Bias),
    shape("BERT-base qkv", 192, 768, 2304, End::Bias),
    shape("BERT-base attention out", 192, 768, 768, End::Residual),
    shape("BERT-base up, gelu", 192, 768, 3072, End::Gelu),
    shape("BERT-base down", 192, 3072, 768, End::Residual),
    shape("MiniLM qkv, 1 row", 1, 384, 1152, End::Bias),
    shape("MiniLM qkv, 11 rows", 11, 384, 1152, End::Bias),
    shape("MiniLM down, 11 rows", 11, 1536, 384, End::Residual),
];

/// Integer products on one core, quantising included, beside our own f32 in the same rounds.
fn integers(isa: Isa, peak: f64) {
    println!(
        "| integer product, one core | rows × K × columns | f32 | int16 | of f32 peak | to f32 | int8 | of f32 peak | to f32 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for shape in INTEGER_SHAPES {
        let Shape {
            name,
            rows,
            depth,
            columns,
            ..
        } = shape;
        let operations = shape.operations();
        let weight = noise(columns * depth);
        let mut exact = Run::new(isa, shape, &weight);
        let mut near = IntegerRun::new(isa, Width::Int16, shape, &weight);
        let mut fast = IntegerRun::new(isa, Width::Int8, shape, &weight);
        let mut speeds = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            speeds[0].push(operations / seconds(|| exact.once()));
            speeds[1].push(operations / seconds(|| near.once()));
            speeds[2].push(operations / seconds(|| fast.once()));
        }
        let [exact, near, fast] = speeds.map(median);
        println!(
            "| {name} | {rows} × {depth} × {columns} | {exact:.1} | {near:.1} | {:.2} | {:.2} | {fast:.1} | {:.2} | {:.2} |",
            near / peak,
            near / exact,
            fast / peak,
            fast / exact
        );
    }
    println!();
}

/// All 8-bit products of six layers like MiniLM's in turn, as a batch takes them: weights that the caches do not
/// hold until they are needed again, and two buffers for what goes in and comes out.
fn layers(isa: Isa) {
    println!("| products of six layers in turn, one core | int8 |");
    println!("|---|---|");
    for rows in [1, 4, 11, 96, 384] {
        let shapes = INTEGER_SHAPES[..4].iter().cycle().take(24);
        let layers: Vec<_> = shapes
            .map(|&shape| {
                let weight = noise(shape.columns * shape.depth);
                let run = IntegerRun::new(isa, Width::Int8, Shape { rows: 1, ..shape }, &weight);
                (Shape { rows, ..shape }, run.layer)
            })
            .collect();
        let (x, residual) = (noise(rows * 1536), noise(rows * 384));
        let (mut y, mut scratch) = (noise(rows * 1536), QuantizeScratch::default());
        let operations: f64 = layers.iter().map(|(shape, _)| shape.operations()).sum();
        let mut once = || {
            for (shape, layer) in &layers {
                let epilogue = shape.end.epilogue(&residual);
                let (x, y) = (&x[..rows * shape.depth], &mut y[..rows * shape.columns]);
                let done = layer.apply(&Solo, black_box(x), epilogue, &mut scratch, y);
                done.expect("sizes agree");
            }
        };
        let speeds = (0..ROUNDS).map(|_| operations / seconds(&mut once));
        println!("| {rows} rows | {:.1} |", median(speeds.collect()));
    }
    println!();
}

/// An integer product with its own buffers.
struct IntegerRun {
    layer: IntegerLinear,
    scratch: QuantizeScratch,
    x: AlignedVec<f32>,
    residual: AlignedVec<f32>,
    y: AlignedVec<f32>,
    end: End,
}

impl IntegerRun {
    fn new(isa: Isa, width: Width, shape: Shape, weight: &[f32]) -> IntegerRun {
        let bias = noise(shape.columns);
        let part = LinearPart {
            weight,
            bias: Some(&bias),
            out_features: shape.columns,
        };
        let layer = IntegerLinear::pack(isa, width, &[part], shape.depth);
        IntegerRun {
            layer: layer.expect("sizes agree"),
            scratch: QuantizeScratch::default(),
            x: noise(shape.rows * shape.depth),
            residual: noise(shape.rows * shape.columns),
            y: AlignedVec::new_zeroed(shape.rows * shape.columns),
            end: shape.end,
        }
    }

    fn once(&mut self) {
        let epilogue = self.end.epilogue(&self.residual);
        let x = black_box(&self.x);
        let done = self
            .layer
            .apply(&Solo, x, epilogue, &mut self.scratch, &mut self.y);
        done.expect("sizes agree");
    }
}

fn attentions(isa: Isa, peak: f64) {
    println!("| attention, one core | heads × size | GFLOP/s | of peak | µs a text |");
    println!("|---|---|---|---|---|");
    for (heads, head_dim) in [(12, 32), (12, 64)] {
        for (length, texts) in [(1, 192), (11, 17), (64, 3), (256, 1), (512, 1), (2048, 1)] {
            let hidden = heads * head_dim;
            let qkv = noise(texts * length * 3 * hidden);
            let lengths = vec![length; texts];
            let input = AttentionInput {
                qkv: &qkv,
                lengths: &lengths,
                heads,
                head_dim,
                position_bias: None,
            };
            let mut out = noise(texts * length * hidden);
            let mut scratch = AttentionScratch::default();
            let cpu = Cpu { isa, team: &Solo };
            let times = (0..ROUNDS).map(|_| {
                seconds(|| attention(cpu, input, &mut scratch, &mut out).expect("sizes agree"))
            });
            let time = median(times.collect()) / texts as f64;
            let speed = 4.0 * (length * length * hidden) as f64 / time / 1e9;
            println!(
                "| {texts} × {length} tokens | {heads} × {head_dim} | {speed:.1} | {:.1} % | {:.1} |",
                100.0 * speed / peak,
                1e6 * time
            );
        }
    }
    println!();
}

fn passes(isa: Isa) {
    println!("| pass over 192 × 384, one core | ns a row |");
    println!("|---|---|");
    let (gamma, beta) = (noise(384), noise(384));
    let norm = LayerNorm {
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-12,
    };
    let mut x = noise(192 * 384);
    let cpu = Cpu { isa, team: &Solo };
    let time = median(
        (0..ROUNDS)
            .map(|_| seconds(|| layer_norm(cpu, black_box(&mut x), norm).expect("sizes agree")))
            .collect(),
    );
    println!("| layer norm | {:.0} |", 1e9 * time / 192.0);
    for activation in [Activation::GeluErf, Activation::GeluTanh, Activation::Tanh] {
        let original = noise(192 * 384);
        let time = median(
            (0..ROUNDS)
                .map(|_| {
                    seconds(|| {
                        x.copy_from_slice(&original);
                        activate(isa, activation, black_box(&mut x));
                    })
                })
                .collect(),
        );
        println!("| {activation:?} | {:.0} |", 1e9 * time / 192.0);
    }
}
