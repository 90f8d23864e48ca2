//! Limits of a team, as options.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};

/// How much a team may have. `default` gives up a limit of its own for the server's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits; `default` is the server's")]
pub struct Limits {
    /// Sandboxes that are not gone.
    #[arg(long, value_name = "NUMBER")]
    sandboxes: Option<Limit>,
    /// Their virtual CPUs.
    #[arg(long, value_name = "NUMBER")]
    vcpu: Option<Limit>,
    /// Their memory, in MiB.
    #[arg(long, value_name = "NUMBER")]
    memory_mib: Option<Limit>,
    /// API keys, expired ones included.
    #[arg(long, value_name = "NUMBER")]
    keys: Option<Limit>,
    /// Templates of its own.
    #[arg(long, value_name = "NUMBER")]
    templates: Option<Limit>,
    /// Requests a second, on and on.
    #[arg(long, value_name = "NUMBER")]
    requests_per_second: Option<Limit>,
    /// Requests at once, after a pause.
    #[arg(long, value_name = "NUMBER")]
    requests_burst: Option<Limit>,
}

/// A limit of a team's own, or none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(Option<u32>);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            number => {
                number.parse().map(|number| Self(Some(number))).map_err(|_| "expected a number, or `default`")
            }
        }
    }
}

impl Limits {
    /// As the API wants those that are given, if any is. `null` and absence are two things there.
    pub fn given(&self) -> Option<Value> {
        let all = [
            ("sandboxes", self.sandboxes),
            ("vcpu", self.vcpu),
            ("memory_mib", self.memory_mib),
            ("keys", self.keys),
            ("templates", self.templates),
            ("requests_per_second", self.requests_per_second),
            ("requests_burst", self.requests_burst),
        ];
        let given: Map<_, _> =
            all.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.0.into()))).collect();
        (!given.is_empty()).then_some(Value::Object(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_the_servers() {
        assert_eq!("0".parse(), Ok(Limit(Some(0))));
        assert_eq!("default".parse(), Ok(Limit(None)));
        for wrong in ["", "-1", "none", "4294967296"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong:?}");
        }
    }
}
