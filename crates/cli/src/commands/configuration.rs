//! `atoll configuration`: every setting on one page, `docs/configuration.md`, from the definitions the commands read.

use std::any::TypeId;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use artifact::oci::settings::{Allowed, Authority, Endpoint, Host, Mirror};
use clap::{Arg, Args, Command, CommandFactory};

use crate::Atoll;
use crate::serve::Settings;

const INTRODUCTION: &str = "\
# Configuration

Every setting, as the binary itself knows it: `atoll configuration` prints this page.

A flag beats the environment, which beats the configuration file, which beats the default. The file is
`/etc/atoll/atoll.toml`, or the one that `--config` names; it is TOML, its keys are those below, and one it does not know
is an error:

```toml
listen = \"127.0.0.1:7070\"
sandboxes_max = 200
```

Secrets are read from files: the first API key is made at the first start and kept in `api-key` in the data directory,
for root alone.
";

const SERVER: &str = "\
## The server: `atoll serve`

A MiB is 1,048,576 bytes; a `max` is a number that is still allowed.
";

const TOOLS: &str = "\
## The other commands

What they take from the environment; `atoll <command> --help` has the rest.
";

/// Prints every setting: flag, variable, key in the file, default, meaning. In Markdown.
#[derive(Debug, Args)]
pub struct Configuration {}

impl Configuration {
    /// Prints it.
    pub fn run(&self) -> ExitCode {
        print!("{}", page());
        ExitCode::SUCCESS
    }
}

/// The page.
fn page() -> String {
    let atoll = Atoll::command();
    let in_file = settings();
    let serve = atoll
        .find_subcommand("serve")
        .into_iter()
        .flat_map(|serve| rows(serve, &in_file))
        .collect::<Vec<_>>();
    let mut others = Vec::new();
    for command in
        atoll.get_subcommands().filter(|command| command.get_name() != "serve" && !command.is_hide_set())
    {
        add_tools(command, &mut others);
    }
    format!("{INTRODUCTION}\n{SERVER}\n{}\n{TOOLS}\n{}", table(&serve), table(&others))
}

/// What a command and those below it take from the environment, each variable once.
fn add_tools(command: &Command, found: &mut Vec<Row>) {
    for row in rows(command, &[]).filter(|row| row.variable.is_some()) {
        if !found.iter().any(|known| known.variable == row.variable) {
            found.push(row);
        }
    }
    command.get_subcommands().for_each(|command| add_tools(command, found));
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    flag: String,
    variable: Option<String>,
    key: Option<String>,
    value: String,
    default: Option<String>,
    meaning: String,
}

fn rows<'a>(command: &'a Command, in_file: &'a [Arg]) -> impl Iterator<Item = Row> + use<'a> {
    let flags = command.get_arguments().filter(|argument| argument.get_long().is_some_and(|it| it != "help"));
    flags.map(|argument| row(argument, in_file.iter().any(|known| known.get_id() == argument.get_id())))
}

/// What the configuration file may say.
fn settings() -> Vec<Arg> {
    Settings::augment_args(Command::new("settings")).get_arguments().cloned().collect()
}

fn row(argument: &Arg, is_in_file: bool) -> Row {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let (meaning, told) = split_default(&help);
    let built_in = argument.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let takes_value = argument.get_action().takes_values();
    Row {
        flag: format!("--{}", argument.get_long().unwrap_or_default()),
        variable: argument.get_env().map(|name| name.to_string_lossy().into_owned()),
        key: is_in_file.then(|| argument.get_id().to_string()),
        value: if takes_value { value(argument) } else { String::new() },
        default: told.or(built_in).filter(|_| takes_value),
        meaning,
    }
}

/// What may be given: the words, or the kind of value with its unit.
fn value(argument: &Arg) -> String {
    let words: Vec<_> =
        argument.get_possible_values().iter().map(|word| format!("`{}`", word.get_name())).collect();
    let kind = argument.get_value_parser().type_id();
    if !words.is_empty() {
        words.join(" or ")
    } else if kind == TypeId::of::<PathBuf>() {
        "path".into()
    } else if kind == TypeId::of::<SocketAddr>() {
        "address and port".into()
    } else if kind == TypeId::of::<String>() {
        "text".into()
    } else if let Some(form) = form(kind) {
        form.into()
    } else {
        unit(argument.get_id().as_str()).into()
    }
}

/// The form of a value of several parts; a comma is between several values.
fn form(kind: impl PartialEq<TypeId>) -> Option<&'static str> {
    let forms = [
        (TypeId::of::<Host>(), "`HOST`, …"),
        (TypeId::of::<Authority>(), "`HOST=FILE`, …"),
        (TypeId::of::<Mirror>(), "`HOST=URL`, …"),
        (TypeId::of::<Allowed>(), "`HOST` or `CIDR`, …"),
        (TypeId::of::<Endpoint>(), "URL"),
    ];
    forms.into_iter().find(|(known, _)| kind == *known).map(|(_, form)| form)
}

/// The unit of a number, which is in its name.
fn unit(name: &str) -> &'static str {
    let units = [
        ("_mib", "MiB"),
        ("_bytes_per_second", "bytes a second"),
        ("_bytes", "bytes"),
        ("_per_second", "a second"),
        ("_seconds", "seconds"),
        ("_ms", "ms"),
    ];
    units.iter().find(|(part, _)| name.contains(part)).map_or("number", |(_, unit)| unit)
}

/// A help text without the `[default: …]` at its end, and that.
fn split_default(help: &str) -> (String, Option<String>) {
    match help.trim_end_matches('.').split_once(" [default: ") {
        Some((meaning, default)) => (format!("{meaning}."), Some(default.trim_end_matches(']').to_owned())),
        None => (format!("{}.", help.trim_end_matches('.')), None),
    }
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| flag | environment | file | value | default | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let code = |text: &Option<String>| text.as_ref().map_or(String::new(), |text| format!("`{text}`"));
    for row in rows {
        let Row { flag, variable, key, value, default, meaning } = row;
        let default = default.as_deref().map_or(String::new(), default_cell);
        let meaning = meaning.replace('\n', " ");
        out +=
            &format!("| `{flag}` | {} | {} | {value} | {default} | {meaning} |\n", code(variable), code(key));
    }
    out
}

/// A value is code; words are words.
fn default_cell(default: &str) -> String {
    if default.contains([' ', '`']) { default.to_owned() } else { format!("`{default}`") }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use anyhow::Context;

    use super::*;
    use crate::serve::Resolved;

    /// What is committed.
    const COMMITTED: &str = include_str!("../../../../docs/configuration.md");

    #[test]
    fn the_page_that_is_committed_is_the_one_the_binary_prints() {
        assert!(page() == COMMITTED, "run `cargo run -p cli -- configuration > docs/configuration.md`");
    }

    #[test]
    fn a_default_is_told_apart_from_what_a_setting_means() {
        let split = |help| {
            let (meaning, default) = split_default(help);
            (meaning, default.unwrap_or_default())
        };
        assert_eq!(split("Where [default: /x]."), ("Where.".into(), "/x".into()));
        assert_eq!(split("Where"), ("Where.".into(), String::new()));
    }

    fn resolve(toml: &str) -> anyhow::Result<Resolved> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        Settings::default().resolve(Some(file.path())).with_context(|| toml.to_owned())
    }

    fn as_toml(value: &str) -> String {
        let is_literal = value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok();
        if is_literal { value.to_owned() } else { format!("{value:?}") }
    }

    #[test]
    fn defaults_are_those_that_are_told() {
        let none = format!("{:?}", resolve("").unwrap());
        let settings = settings();
        let told = settings
            .iter()
            .map(|setting| row(setting, true))
            .filter_map(|row| Some((row.key?, row.default?)));
        // Defaults that depend on the host are told in words.
        let literal: Vec<_> = told.filter(|(_, default)| !default.contains(' ')).collect();
        assert!(literal.len() > 3, "{literal:?}");
        for (key, default) in literal {
            let told = resolve(&format!("{key} = {}", as_toml(&default))).unwrap();
            assert_eq!(format!("{told:?}"), none, "{key} is said to be {default} by default");
        }
    }

    /// What a bucket of snapshots needs.
    const BUCKET: &str = "snapshot_bucket = \"b\"\nsnapshot_endpoint = \"https://s3.test\"\n\
                          snapshot_credentials_file = \"/c\"\nsecrets_key_file = \"/k\"";

    /// What a certificate by ACME needs, by an update and by a hook.
    const ACME: &str = "domain = \"a.elsewhere.test\"\nacme_accept_terms = true\nacme_dns_rfc2136 = \"ns.test:53\"\n\
                        acme_dns_key_name = \"k\"\nacme_dns_key_file = \"/k\"";
    const HOOK: &str = "domain = \"a.elsewhere.test\"\nacme_accept_terms = true";

    #[test]
    fn every_setting_can_be_set_in_the_file() {
        let shown = |text: &str| resolve(text).ok().map(|resolved| format!("{resolved:?}"));
        for setting in settings() {
            let key = setting.get_id().as_str();
            let others = [
                "4321",
                "true",
                "false",
                "\"127.0.0.1:4321\"",
                "\"fake\"",
                "\"elsewhere.test\"",
                "\"a@elsewhere.test\"",
                "\"/elsewhere\"",
                "\"https://elsewhere.test/\"",
                "[\"elsewhere.test\"]",
                "[\"elsewhere.test=/etc/ssl/certs/ca-certificates.crt\"]",
                "[\"elsewhere.test=https://mirror.test\"]",
                "[\"192.0.2.0/24\"]",
            ];
            let partner = match key {
                "ingress_certificate" => "ingress_key = \"/elsewhere\"",
                "ingress_key" => "ingress_certificate = \"/elsewhere\"",
                _ => "",
            };
            let of_bucket =
                BUCKET.lines().filter(|line| key.starts_with("snapshot_") && !line.starts_with(key));
            let of_acme = if key == "acme_dns_hook" { HOOK } else { ACME };
            let of_acme = of_acme.lines().filter(|line| key.starts_with("acme_") && !line.starts_with(key));
            let partners =
                [partner].into_iter().chain(of_bucket).chain(of_acme).collect::<Vec<_>>().join("\n");
            let without = shown(&partners);
            let mut with = others.iter().filter_map(|value| shown(&format!("{key} = {value}\n{partners}")));
            assert!(with.any(|with| Some(with) != without), "{key} in the file changes nothing");
        }
    }

    #[test]
    fn every_setting_can_be_a_flag_and_a_variable() {
        for setting in settings() {
            let flag = setting.get_id().as_str().replace('_', "-");
            assert_eq!(setting.get_long(), Some(flag.as_str()));
            let variable = format!("ATOLL_{}", setting.get_id().as_str().to_uppercase());
            assert_eq!(setting.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }
}
