//! The real recipe, carried out twice. Needs root, a mirror and a minute.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use artifact::lock::Lock;
use artifact::recipe::Recipe;
use artifact::system::Packages;
use artifact::{Error, Images, system};
use wire::sandbox::defaults::TEMPLATE;

/// Mounts an image for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let status =
            Command::new("mount").args(["-t", "erofs", "-o", "ro,loop"]).arg(image).arg(at).status().unwrap();
        assert!(status.success());
        Self(at)
    }

    /// What a shell line says inside, as the sandbox user.
    fn sh(&self, line: &str) -> String {
        let enter = r#"mount --bind /dev "$0/dev" && exec chroot --userspec=1000:1000 "$0" /bin/sh -c "$1""#;
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", enter])
            .args([self.0.as_os_str(), line.as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[tokio::test]
async fn the_recipe_gives_a_working_and_reproducible_debian() {
    let work = tempfile::tempdir().unwrap();
    let images = Images::open(&work.path().join("one")).unwrap();
    let lines = Mutex::new(0);
    let count = |line: String| {
        println!("{line}");
        *lines.lock().unwrap() += 1;
    };
    let (first, second) = tokio::join!(
        system::build(&images, TEMPLATE, Packages::Preferred, count),
        system::build(&images, TEMPLATE, Packages::Preferred, count)
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.built_now && !second.built_now, "two builds of one recipe were in flight at once");
    assert_eq!(first.digest, second.digest);
    assert!(*lines.lock().unwrap() > 5);

    let image = images.get(&first.digest).unwrap();
    let root = work.path().join("mnt");
    let inside = Mounted::new(&image.path, &root);
    assert_eq!(inside.sh("python -c 'print(6*7)'"), "42");
    assert!(inside.sh("git --version").starts_with("git version 2."));
    assert!(inside.sh("curl --version").starts_with("curl 7."));
    assert_eq!(
        inside.sh("id -un; id -u; echo ~user; stat -c %U /workspace /home/user"),
        "user\n1000\n/home/user\nuser\nuser"
    );
    assert_eq!(inside.sh("cat /etc/hostname; stat -c %s /etc/machine-id"), "sandbox\n0");
    assert_eq!(inside.sh("command -v sudo || echo none"), "none");
    assert_eq!(
        inside.sh("ls -A /etc/apt/preferences.d"),
        "",
        "what was locked is nobody's preference in a sandbox"
    );
    let stale = "import glob,importlib.util as u,os,struct\n\
        for f in glob.glob('/usr/lib/python3.11/*.py'):\n\
        \x20 h=open(u.cache_from_source(f),'rb').read(16)\n\
        \x20 assert struct.unpack('<II',h[4:12])==(0,int(os.stat(f).st_mtime)),f";
    inside.sh(&format!("python3 -c \"{stale}\""));
    drop(inside);

    let other = Images::open(&work.path().join("two")).unwrap();
    let said = Mutex::new(String::new());
    let hear = |line: String| said.lock().unwrap().push_str(&line);
    let (recipe, package) = with_another_hash();
    let again = system::carry_out(&other, &recipe, Packages::Preferred, hear).await.unwrap();
    assert!(again.built_now);
    assert_eq!(again.digest, first.digest, "the same recipe and packages gave another image");
    assert!(said.into_inner().unwrap().contains(&format!("{package} (")), "a changed hash is told");
    assert_eq!(other.by_recipe(&recipe.key()), None, "it is not what the lock says");
    assert_eq!(system::found(&other, &recipe, Packages::Preferred).unwrap().digest, again.digest);

    let refused = system::carry_out(&other, &recipe, Packages::Locked, |_| {}).await.unwrap_err();
    let Error::NotLocked { differences, .. } = refused else { panic!("{refused}") };
    assert!(differences.contains(&format!("{package} (")), "{differences}");
    assert_eq!(fs::read_dir(work.path().join("two/tmp")).unwrap().count(), 0);
}

/// The recipe with a lock in which one file has another hash, and the name of its package.
fn with_another_hash() -> (Recipe, String) {
    let recipe = Recipe::named(TEMPLATE).unwrap();
    let lock = recipe.lock.to_string();
    let (first, rest) = lock.split_once('\n').expect("something is locked");
    let (what, _hash) = first.rsplit_once(' ').unwrap();
    let lock = Lock::parse("test.lock", &format!("{what} {}\n{rest}", "a".repeat(64))).unwrap();
    (recipe.locked_to(lock), what.split(' ').next().unwrap().to_owned())
}
