//! What fetching models depends on: the hub's settings, and pip for package registries.

use std::process::{Command, Stdio};

use catalogue::{Environment, Network};

use super::Finding;

pub(super) fn findings(environment: &Environment) -> Vec<Finding> {
    vec![hub(environment), pip(environment), variables()]
}

fn hub(environment: &Environment) -> Finding {
    let token = if environment.hub_token.is_some() {
        "a token"
    } else {
        "no token"
    };
    let found = format!("{}, {token}", environment.hub_address());
    if environment.hub_network == Network::Offline {
        let remedy = "models that are not here come from packages alone; unset it to use the hub";
        return Finding::warn("hub", format!("{found}; HF_HUB_OFFLINE is set"), remedy);
    }
    Finding::ok("hub", found)
}

fn pip(environment: &Environment) -> Finding {
    let version = environment.pip.iter().find_map(|words| {
        let (program, arguments) = words.split_first()?;
        let output = Command::new(program)
            .args(arguments)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        // `pip 24.0 from /usr/lib/… (python 3.12)`: where it lies does not matter.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split(" from ").next()?.trim().to_owned();
        Some(format!("{version} ({})", words.join(" ")))
    });
    match version {
        Some(version) => Finding::ok("pip", version),
        None => Finding::warn(
            "pip",
            "not found",
            "needed only where the hub is not reached; install python3-pip, or give models as \
             directories",
        ),
    }
}

/// Which variables are in force. Their values may be secret, so they are not shown.
fn variables() -> Finding {
    // Everyone's, and shown elsewhere by what follows from it.
    let of_models = Environment::VARIABLES
        .into_iter()
        .filter(|name| *name != "HOME");
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let set: Vec<String> = ours
        .filter(|name| {
            name.starts_with("BATCHWRIGHT_") || of_models.clone().any(|ours| ours == name)
        })
        .collect();
    let found = if set.is_empty() {
        let names: Vec<&str> = of_models
            .filter(|name| !name.starts_with("BATCHWRIGHT_"))
            .collect();
        format!("none of BATCHWRIGHT_*, {} is set", names.join(", "))
    } else {
        format!("{} set", sorted(set).join(", "))
    };
    Finding::ok("variables", found)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
