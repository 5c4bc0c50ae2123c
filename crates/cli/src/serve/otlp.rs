//! Where traces go: by the flags, or by the variables that OpenTelemetry has for every program.

use anyhow::{Context, bail};
use server::{OtlpSettings, Sampling};

use crate::args::OperationArgs;

/// Those of these that are set switch traces on.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// None where nobody asked for traces. What is typed goes before `variable`s.
pub(super) fn settings(
    args: &OperationArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<OtlpSettings>> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let is = |name, word| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    let is_on = ENDPOINTS.iter().any(|name| variable(name).is_some());
    if args.otlp_endpoint.is_none() && (is_off || !is_on) {
        return Ok(None);
    }
    let sampling = match args.otlp_sample_ratio {
        Some(ratio) => Sampling {
            ratio,
            ..Sampling::default()
        },
        None => sampling(&variable)?,
    };
    let defaults = OtlpSettings::default();
    let number = |name: &str| -> anyhow::Result<Option<u64>> {
        let words = || format!("{name} must be a whole number");
        variable(name)
            .map(|value| value.parse().with_context(words))
            .transpose()
    };
    let delay = number("OTEL_BSP_SCHEDULE_DELAY")?;
    let queue = number("OTEL_BSP_MAX_QUEUE_SIZE")?.and_then(|size| usize::try_from(size).ok());
    Ok(Some(OtlpSettings {
        endpoint: args.otlp_endpoint.clone(),
        sampling,
        delay: delay.map_or(defaults.delay, std::time::Duration::from_millis),
        queue: queue.unwrap_or(defaults.queue),
    }))
}

/// `OTEL_TRACES_SAMPLER` and its argument.
fn sampling(variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Sampling> {
    let Some(name) = variable("OTEL_TRACES_SAMPLER") else {
        return Ok(Sampling::default());
    };
    let (follow_parent, rule) = match name.strip_prefix("parentbased_") {
        Some(rule) => (true, rule),
        None => (false, name.as_str()),
    };
    let ratio = match rule {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match variable("OTEL_TRACES_SAMPLER_ARG") {
            None => 1.0,
            Some(word) => match word.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => bail!("OTEL_TRACES_SAMPLER_ARG is `{word}`; write a number from 0 to 1"),
            },
        },
        _ => bail!(
            "OTEL_TRACES_SAMPLER is `{name}`; write always_on, always_off or traceidratio, or one of them behind \
             parentbased_"
        ),
    };
    Ok(Sampling {
        follow_parent,
        ratio,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::OperationArgs;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        operation: OperationArgs,
    }

    fn read(words: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Option<OtlpSettings>> {
        let words = std::iter::once("serve").chain(words.iter().copied());
        let args = Typed::parse_from(words).operation;
        settings(&args, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// Traces of a deployment would go nowhere, or those that were switched off somewhere.
    #[test]
    fn flags_and_variables_switch_traces_on_and_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        let typed = ["--otlp-endpoint", "http://b"];
        assert_eq!(read(&[], &[]).unwrap(), None);
        assert_eq!(
            read(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap(),
            None
        );
        assert_eq!(
            read(&[], &[endpoint, ("OTEL_SDK_DISABLED", "true")]).unwrap(),
            None
        );
        assert_eq!(
            read(&[], &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).unwrap(),
            None
        );
        let on = read(&[], &[endpoint]).unwrap().unwrap();
        assert_eq!(on, OtlpSettings::default());
        let on = read(&typed, &[("OTEL_SDK_DISABLED", "true")])
            .unwrap()
            .unwrap();
        assert_eq!(on.endpoint.as_deref(), Some("http://b"));
        let ratio = [&typed[..], &["--otlp-sample-ratio", "0.5"]].concat();
        let on = read(&ratio, &[("OTEL_TRACES_SAMPLER", "always_off")])
            .unwrap()
            .unwrap();
        assert_eq!((on.sampling.follow_parent, on.sampling.ratio), (true, 0.5));
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let on = read(&typed, &[sampler, ("OTEL_TRACES_SAMPLER_ARG", "0.25")])
            .unwrap()
            .unwrap();
        assert_eq!(
            (on.sampling.follow_parent, on.sampling.ratio),
            (false, 0.25)
        );
        assert!(read(&typed, &[("OTEL_TRACES_SAMPLER", "sometimes")]).is_err());
        assert!(read(&typed, &[sampler, ("OTEL_TRACES_SAMPLER_ARG", "2")]).is_err());
        assert!(read(&typed, &[("OTEL_BSP_MAX_QUEUE_SIZE", "many")]).is_err());
    }
}
