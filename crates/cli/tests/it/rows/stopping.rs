//! Jobs that are stopped and continued.

use super::{lines, plain_texts};
use crate::workplace::Workplace;

/// The same 60,000 texts as `in.txt`, which goes by the block, and as `in.csv` with a second column, which does not.
fn plain_and_with_columns() -> Workplace {
    let place = Workplace::new();
    let texts: Vec<String> = plain_texts(60_000);
    place.write("in.txt", lines(&texts));
    place.write(
        "in.csv",
        "text,n\n".to_owned() + &lines(&texts).replace('\n', ",1\n"),
    );
    place
}

/// The time that a kill costs would be all of it, or the array not be the same.
#[test]
fn jobs_have_the_same_bytes_after_kill_9_and_ctrl_c() {
    let place = plain_and_with_columns();
    let jobs: [(&str, &str); 4] = [
        ("in.txt", "npy"),
        ("in.csv", "npy"),
        ("in.csv", "parquet"),
        ("in.csv", "arrow"),
    ];
    for (input, extension) in jobs {
        let words = |output: &str| -> Vec<String> {
            let all = [
                "augment",
                input,
                "--recipe",
                "typing",
                "--tokenize",
                "characters",
                "--copies",
                "2",
                "-o",
                output,
            ];
            let shards = match extension {
                "npy" => &[][..],
                _ => &["--rows-per-shard", "1000"],
            };
            let all = all.iter().chain(shards);
            all.map(|word| (*word).to_owned()).collect()
        };
        let (whole, broken) = (
            format!("whole-{input}.{extension}"),
            format!("broken-{input}.{extension}"),
        );
        let whole_words = words(whole.as_str());
        let started = std::time::Instant::now();
        place
            .run(&whole_words.iter().map(String::as_str).collect::<Vec<_>>())
            .ok();
        let time = started.elapsed();
        let broken_words = words(broken.as_str());
        let job: Vec<&str> = broken_words.iter().map(String::as_str).collect();
        let mut stopped = 0;
        for tenth in 1..=9 {
            let mut child = place.command(&job).spawn().unwrap();
            // A moment within the run is the point of this test.
            std::thread::sleep(time * tenth / 10);
            if tenth % 2 == 0 {
                child.kill().unwrap();
            } else {
                // It may have ended.
                drop(
                    std::process::Command::new("kill")
                        .args(["-INT", &child.id().to_string()])
                        .status(),
                );
            }
            let ran = crate::workplace::finish(child);
            stopped += usize::from(matches!(ran.code, None | Some(130)));
            if place.path(&broken).exists() {
                break;
            }
        }
        assert!(stopped > 0, "{input}: no run was stopped");
        place.run(&job).ok();
        assert!(
            place.read(&broken) == place.read(&whole),
            "{input} {extension}: other bytes"
        );
        assert!(!place.path(&format!("{broken}.parts")).exists());
    }
}

/// Ctrl-C would be heard when terabytes are hashed, or a row without an end is passed over.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_is_heard_while_the_input_is_looked_at() {
    let place = Workplace::new();
    for name in ["in.txt", "in.csv"] {
        // A hole, which takes no space.
        let file = std::fs::File::create(place.path(name)).unwrap();
        let head = b"text,n\n\"";
        std::os::unix::fs::FileExt::write_all_at(&file, head, 0).unwrap();
        file.set_len(1 << 40).unwrap();
        let mut child = place
            .command(&["tokenize", name, "-o", "a.npy"])
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let listens = || {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
            caught & 1 << (2 - 1) != 0
        };
        while !listens() {
            assert!(child.try_wait().unwrap().is_none(), "{name}");
            std::thread::yield_now();
        }
        let id = child.id().to_string();
        let told = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(told.unwrap().success());
        let sent = std::time::Instant::now();
        while child.try_wait().unwrap().is_none() {
            if sent.elapsed().as_secs() >= 20 {
                child.kill().unwrap();
            }
            std::thread::yield_now();
        }
        let ran = crate::workplace::finish(child);
        ran.code(130).says("nothing was written yet");
    }
}

/// A kill would cost all of the time, and not what was done since the last two seconds.
#[cfg(unix)]
#[test]
fn a_killed_array_goes_on_from_its_checkpoint() {
    let place = plain_and_with_columns();
    for input in ["in.txt", "in.csv"] {
        // What the other input left would be taken for this one's.
        let (whole, broken) = (format!("{input}-whole.npy"), format!("{input}-broken.npy"));
        let words = |output| {
            [
                "augment",
                input,
                "--recipe",
                "ocr",
                "--tokenize",
                "characters",
                "--copies",
                "60",
                "--width",
                "8",
                "--threads",
                "1",
                "-o",
                output,
            ]
        };
        place.run(&words(whole.as_str())).ok();
        let mut child = place.command(&words(broken.as_str())).spawn().unwrap();
        let signal = |name: &str| {
            let id = child.id().to_string();
            let sent = std::process::Command::new("kill")
                .args([name, &id])
                .status();
            assert!(sent.unwrap().success());
        };
        let parts = place.path(&format!("{broken}.parts"));
        let bytes = |name: &str| {
            let path = parts.join(name);
            path.metadata().map_or(0, |facts| facts.len())
        };
        let begun = || {
            let files = std::fs::read_dir(&parts).into_iter().flatten().flatten();
            files
                .map(|file| file.metadata().map_or(0, |facts| facts.len()))
                .max()
                > Some(4 << 20)
        };
        while !begun() {
            std::thread::yield_now();
        }
        // The two seconds of a checkpoint pass, and the rows do not run out meanwhile.
        signal("-STOP");
        std::thread::sleep(std::time::Duration::from_millis(2_200));
        signal("-CONT");
        while bytes("shards.jsonl") == 0 && !place.path(&broken).exists() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let ran = crate::workplace::finish(child);
        assert_eq!(
            ran.code, None,
            "{input} ended before it was killed: {}",
            ran.err
        );
        let ran = place.run(&words(broken.as_str())).ok().says("continuing: ");
        let done = ran
            .err
            .lines()
            .find_map(|line| line.strip_prefix("continuing: "));
        assert!(!done.unwrap().starts_with("0 "), "{}", ran.err);
        assert!(
            place.read(&broken) == place.read(&whole),
            "{input}: other bytes"
        );
    }
}
