//! The crates we link: their licences, and that each is there once.

use std::collections::BTreeMap;

use super::Finding;
use super::deny::{self, Deny};
use super::graph::Package;
use super::licence;

/// Crates that others may bring, and none of ours may use: the name, and what to use.
const NOT_OURS: [(&str, &str); 1] = [("chrono", "use jiff, as the rest of the workspace does")];

const LOCK: &str = "Cargo.lock";

pub fn check(packages: &[Package], deny: &Deny) -> Vec<Finding> {
    let mut findings = licences(packages, deny);
    findings.extend(banned(packages, deny));
    findings.extend(not_ours(packages));
    findings.extend(duplicates(packages, deny));
    findings.extend(stale_skips(packages, deny));
    findings
}

fn licences(packages: &[Package], deny: &Deny) -> Vec<Finding> {
    let foreign = packages.iter().filter(|package| package.is_foreign);
    let refused = foreign.filter(|package| {
        let licence = package.license.as_deref().unwrap_or_default();
        !licence::is_satisfied(licence, &deny.licenses.allow)
    });
    refused
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("no licence");
            let what = format!("{} {} is under {licence}", package.name, package.version);
            Finding::new(LOCK, 0, what, format!("do without it, or allow the licence in {}", deny::FILE))
        })
        .collect()
}

fn banned(packages: &[Package], deny: &Deny) -> Vec<Finding> {
    let hits = packages.iter().flat_map(|package| {
        let entries = deny.bans.deny.iter();
        entries
            .filter(|entry| entry.matches(&package.name, &package.version))
            .map(move |entry| (package, entry))
    });
    hits.map(|(package, entry)| {
        let what = format!("{} {} is banned ({})", package.name, package.version, entry.reason);
        Finding::new(LOCK, 0, what, format!("see who brings it with `cargo tree -i {}`", package.name))
    })
    .collect()
}

fn not_ours(packages: &[Package]) -> Vec<Finding> {
    let ours = packages.iter().filter(|package| !package.is_foreign);
    ours.flat_map(|package| {
        let used = NOT_OURS
            .iter()
            .filter(|(name, _)| package.dependencies.iter().any(|dependency| dependency == name));
        used.map(|(name, instead)| {
            Finding::new(LOCK, 0, format!("{} depends on {name}", package.name), *instead)
        })
    })
    .collect()
}

fn duplicates(packages: &[Package], deny: &Deny) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let skipped = deny.bans.skip.iter().any(|entry| entry.matches(&package.name, &package.version));
        if !skipped {
            versions.entry(&package.name).or_default().push(&package.version);
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several
        .map(|(name, versions)| {
            let what = format!("{name} is there in versions {}", versions.join(", "));
            Finding::new(
                LOCK,
                0,
                what,
                format!("agree on one, or list the older in {} with the reason", deny::FILE),
            )
        })
        .collect()
}

fn stale_skips(packages: &[Package], deny: &Deny) -> Vec<Finding> {
    let stale = deny
        .bans
        .skip
        .iter()
        .filter(|entry| !packages.iter().any(|package| entry.matches(&package.name, &package.version)));
    stale
        .map(|entry| Finding::new(deny::FILE, 0, format!("skips {}, which is gone", entry.spec), "remove it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::deny::{Bans, Entry, Licenses};
    use super::*;

    fn foreign(name: &str, version: &str) -> Package {
        let license = Some("MIT".into());
        Package {
            name: name.into(),
            version: version.into(),
            license,
            is_foreign: true,
            dependencies: vec![],
        }
    }

    fn entry(spec: &str) -> Entry {
        Entry { spec: spec.into(), reason: "a reason".into() }
    }

    /// With MIT allowed, `bad` banned and `twin@1` skipped.
    fn found(packages: &[Package]) -> Vec<String> {
        let bans = Bans { deny: vec![entry("bad")], skip: vec![entry("twin@1")] };
        let deny = Deny { licenses: Licenses { allow: vec!["MIT".into()] }, bans };
        let twin = foreign("twin", "1.0.0");
        check(&[packages, &[twin]].concat(), &deny).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_found_where_all_is_well() {
        assert_eq!(found(&[foreign("good", "1.0.0"), foreign("twin", "2.0.0")]), Vec::<String>::new());
    }

    #[test]
    fn a_licence_that_is_not_allowed_or_missing_is_found() {
        let package =
            |license: Option<&str>| Package { license: license.map(Into::into), ..foreign("x", "1.0.0") };
        assert!(found(&[package(Some("GPL-3.0"))])[0].contains("GPL-3.0"));
        assert!(found(&[package(None)])[0].contains("no licence"));
        assert_eq!(found(&[Package { is_foreign: false, ..package(None) }]).len(), 0);
    }

    #[test]
    fn a_banned_crate_is_found_with_the_reason() {
        assert!(found(&[foreign("bad", "3.0.0")])[0].contains("a reason"));
    }

    #[test]
    fn chrono_may_be_brought_but_not_asked_for() {
        let user = |is_foreign| Package {
            is_foreign,
            dependencies: vec!["chrono".into()],
            ..foreign("user", "1.0.0")
        };
        assert_eq!(found(&[user(true), foreign("chrono", "0.4.0")]).len(), 0);
        assert!(found(&[user(false), foreign("chrono", "0.4.0")])[0].contains("jiff"));
    }

    #[test]
    fn a_second_version_is_found_unless_it_is_skipped() {
        assert!(found(&[foreign("x", "1.0.0"), foreign("x", "2.0.0")])[0].contains("1.0.0, 2.0.0"));
        assert_eq!(found(&[foreign("twin", "2.0.0")]).len(), 0);
        assert!(found(&[foreign("twin", "2.0.0"), foreign("twin", "3.0.0")])[0].contains("2.0.0, 3.0.0"));
    }

    #[test]
    fn a_skip_of_what_is_gone_is_found() {
        let bans = Bans { deny: vec![], skip: vec![entry("gone@1")] };
        let deny = Deny { licenses: Licenses::default(), bans };
        assert!(check(&[], &deny)[0].to_string().contains("gone@1"));
    }
}
