//! The images we ship the recipe of. A recipe is data: `images/*.toml` and `images/*.lock`, compiled in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use wire::image::{Digest, ImageConfig};

use crate::lock::Lock;
use crate::{Error, Result};

/// Counts changes of how recipes are carried out, which are changes of every image.
const BUILDER_VERSION: &str = "2";

/// Each recipe file, by the name it must have, and the set-up scripts recipes may name.
const FILES: [(&str, &str, &str); 1] = [(
    "system/debian:bookworm",
    "images/debian-bookworm.toml",
    include_str!("../../../images/debian-bookworm.toml"),
)];
const SETUP_SCRIPTS: [(&str, &str); 1] =
    [("debian-setup.sh", include_str!("../../../images/debian-setup.sh"))];
/// The locks they may name.
const LOCKS: [(&str, &str); 1] =
    [("debian-bookworm.lock", include_str!("../../../images/debian-bookworm.lock"))];

/// How to make one Debian image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The template's name, `system/` included.
    pub name: String,
    /// The Debian release it is made of.
    pub suite: String,
    /// Suites besides it, used where apt on this machine has them.
    #[serde(default)]
    pub suites_extra: Vec<String>,
    /// Archive areas: `main`, `contrib`, …
    pub components: Vec<String>,
    /// Packages on top of `minbase`, without what they recommend.
    pub packages: Vec<String>,
    /// Files dpkg leaves out, as shell patterns of absolute paths.
    #[serde(default)]
    pub path_exclude: Vec<String>,
    /// Files dpkg installs all the same.
    #[serde(default)]
    pub path_include: Vec<String>,
    /// A script in `images/` that is run with the new root's path.
    pub setup: String,
    /// A file in `images/` that says which versions of which packages it is made of. Absent: any will do.
    #[serde(default, rename = "lock")]
    lock_file: String,
    /// The latest time anything in the image can have, in Unix seconds.
    pub source_date_epoch: u64,
    /// Files written last, by absolute path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// How processes run in it.
    pub config: ImageConfig,
    /// What the file of that name says.
    #[serde(skip)]
    pub lock: Lock,
    /// The text it was parsed from.
    #[serde(skip)]
    text: String,
}

impl Recipe {
    /// The recipe of this template.
    ///
    /// # Errors
    /// [`Error::UnknownRecipe`], which lists those there are.
    pub fn named(name: &str) -> Result<Self> {
        let (_, file, text) =
            FILES.into_iter().find(|(known, ..)| *known == name).ok_or_else(|| unknown(name))?;
        Self::parse(file, text)
    }

    /// The recipe that this TOML text is.
    ///
    /// # Errors
    /// When it is not one, or says something that makes no sense; naming the file.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut recipe: Self = toml::from_str(text)
            .map_err(|source| Error::RecipeSyntax { file: file.to_owned(), source: Box::new(source) })?;
        recipe.text = text.to_owned();
        let lock = LOCKS.iter().find(|(name, _)| *name == recipe.lock_file);
        recipe.lock = lock.map_or(Ok(Lock::default()), |(name, text)| Lock::parse(name, text))?;
        match recipe.problem() {
            Some(problem) => Err(Error::Recipe { file: file.to_owned(), problem }),
            None => Ok(recipe),
        }
    }

    /// The names of all recipes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.into_iter().map(|(name, ..)| name)
    }

    /// The same made of any packages.
    pub fn unlocked(self) -> Self {
        Self { lock: Lock::default(), ..self }
    }

    /// The same made of these packages.
    pub fn locked_to(self, lock: Lock) -> Self {
        Self { lock, ..self }
    }

    /// The file in `images/` that has its lock.
    pub fn lock_file(&self) -> &str {
        &self.lock_file
    }

    /// What decides the image, hashed: the recipe, its script, its packages, and how we carry recipes out.
    pub fn key(&self) -> Digest {
        self.key_with(&self.lock)
    }

    /// The key of this recipe carried out with these packages instead.
    pub fn key_with(&self, packages: &Lock) -> Digest {
        self.hash(&packages.to_string())
    }

    /// The key of whatever was built where the packages of the lock could not be had.
    pub fn stand_in_key(&self) -> Digest {
        self.hash(&format!("instead of\n{}", self.lock))
    }

    fn hash(&self, packages: &str) -> Digest {
        let mut hash = Sha256::new();
        for part in [BUILDER_VERSION, &self.text, self.setup_script(), packages] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Digest::from_sha256(hash.finalize().into())
    }

    /// The text of [`Recipe::setup`].
    pub fn setup_script(&self) -> &'static str {
        SETUP_SCRIPTS.iter().find(|(name, _)| *name == self.setup).map_or("", |(_, text)| text)
    }

    /// What makes no sense, if anything. Everything here ends up in an argument or a path.
    fn problem(&self) -> Option<String> {
        if !self.name.starts_with("system/") {
            return Some(format!("name `{}` must start with `system/`", self.name));
        }
        let words =
            [&self.suite].into_iter().chain(&self.suites_extra).chain(&self.components).chain(&self.packages);
        if let Some(word) = words.into_iter().find(|word| !is_debian_word(word)) {
            return Some(format!("`{word}` must be lower-case letters, digits, `+`, `-` and `.`"));
        }
        if self.components.is_empty() {
            return Some("components must name at least one archive area, such as `main`".into());
        }
        let patterns = self.path_exclude.iter().chain(&self.path_include);
        if let Some(path) = patterns.chain(self.files.keys()).find(|path| !is_plain_path(path)) {
            return Some(format!("`{path}` must be an absolute path without `..`"));
        }
        if !self.lock_file.is_empty() && !LOCKS.iter().any(|(name, _)| *name == self.lock_file) {
            return Some(format!("lock `{}` is not among images/", self.lock_file));
        }
        if self.setup_script().is_empty() {
            return Some(format!("setup script `{}` is not among images/", self.setup));
        }
        None
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownRecipe { name: name.to_owned(), known: Recipe::names().collect::<Vec<_>>().join(", ") }
}

/// A package, suite or component, as Debian spells them (Debian Policy, 5.6.1).
fn is_debian_word(word: &str) -> bool {
    let starts_well = word.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    starts_well && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn is_plain_path(path: &str) -> bool {
    let parts = || Path::new(path).components();
    Path::new(path).is_absolute()
        && !parts().any(|part| part.as_os_str() == "..")
        && !path.contains(['\n', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "system/test"
        suite = "bookworm"
        components = ["main"]
        packages = ["less"]
        setup = "debian-setup.sh"
        source_date_epoch = 1
        [config]
        user = "user"
    "#;

    fn refusal(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Recipe::parse("test.toml", &GOOD.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn every_shipped_recipe_is_well_formed_and_found_by_its_name() {
        for name in Recipe::names() {
            assert_eq!(Recipe::named(name).unwrap().name, name);
        }
        assert!(Recipe::names().any(|name| name == wire::sandbox::defaults::TEMPLATE));
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let refusal = Recipe::named("system/plan9").unwrap_err().to_string();
        assert!(refusal.contains("system/plan9") && refusal.contains("system/debian:bookworm"), "{refusal}");
    }

    #[test]
    fn a_recipe_that_makes_no_sense_is_refused_by_what_is_wrong() {
        assert!(Recipe::parse("test.toml", GOOD).is_ok());
        assert!(refusal("system/test", "test").contains("system/"));
        assert!(refusal("\"less\"", "\"less; rm -rf /\"").contains("less; rm"));
        assert!(refusal("\"less\"", "\"--keyring=/x\"").contains("--keyring"));
        assert!(refusal("\"main\"", "").contains("components"));
        assert!(refusal("debian-setup.sh", "other.sh").contains("other.sh"));
        assert!(refusal("setup =", "lock = \"other.lock\"\nsetup =").contains("other.lock"));
        assert!(refusal("[config]", "[files]\n\"/etc/../../x\" = \"\"\n[config]").contains("/etc/../../x"));
    }

    #[test]
    fn a_recipe_with_a_missing_or_unknown_key_is_refused_by_file_and_key() {
        use std::error::Error as _;
        let missing = Recipe::parse("test.toml", &GOOD.replace("suite", "#")).unwrap_err();
        assert!(missing.to_string().contains("test.toml"));
        assert!(missing.source().unwrap().to_string().contains("suite"));
        let unknown = Recipe::parse("test.toml", &GOOD.replace("setup", "setpu = \"\"\nsetup")).unwrap_err();
        assert!(unknown.source().unwrap().to_string().contains("setpu"));
    }

    #[test]
    fn the_key_changes_with_the_recipe_and_only_with_it() {
        let key = |text: &str| Recipe::parse("test.toml", text).unwrap().key();
        assert_eq!(key(GOOD), key(GOOD));
        assert_ne!(key(GOOD), key(&GOOD.replace("less", "vim")));
    }

    #[test]
    fn other_packages_are_another_key_and_so_is_what_stands_in_for_them() {
        let recipe = Recipe::parse("test.toml", GOOD).unwrap();
        let lock = Lock::parse("test.lock", &format!("a amd64 1 {}\n", "a".repeat(64))).unwrap();
        let locked = recipe.clone().locked_to(lock.clone());
        assert_eq!(locked.key(), recipe.key_with(&lock));
        let keys = [recipe.key(), recipe.stand_in_key(), locked.key(), locked.stand_in_key()];
        assert!((1..keys.len()).all(|index| !keys[..index].contains(&keys[index])), "{keys:?}");
    }
}
