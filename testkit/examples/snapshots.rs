//! How fast snapshots are stored and fetched, on a disk and in a bucket that this process serves itself.
//!
//! `snapshots DIRECTORY`; prints JSON, a line a figure, for `bench/snapshots.py`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifact::snapshot::{CHUNK_BYTES, Facts, KeyRing, Place, Settings, Snapshots};
use testkit::s3::S3;
use tokio::runtime::Builder;
use wire::image::Digest;
use wire::sandbox::Resources;

/// Turns of each figure, of which the middle one is printed.
const TURNS: usize = 5;
/// One chunk of so many changes.
const CHANGED_OF: u64 = 10;

/// What a memory image has in it.
#[derive(Clone, Copy)]
enum Content {
    /// What nobody can compress.
    Noise,
    /// A quarter of that, a quarter of text, and holes.
    Mixed,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn noise(bytes: usize) -> io::Result<Vec<u8>> {
    let mut noise = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut noise)?;
    Ok(noise)
}

/// Writes chunks of an image: all, or a tenth of them anew.
fn write(path: &Path, mib: u64, content: Content, is_change: bool) -> io::Result<()> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let chunks = (mib << 20) / CHUNK_BYTES as u64;
    file.set_len(mib << 20)?;
    for at in (0..chunks).filter(|at| !is_change || at % CHANGED_OF == 0) {
        let bytes = match (content, at % 4) {
            (Content::Mixed, 0 | 1) => continue,
            (Content::Mixed, 2) => format!("{at:08x} and so on; ").repeat(CHUNK_BYTES / 19).into_bytes(),
            _ => noise(CHUNK_BYTES)?,
        };
        file.write_all_at(&bytes, at * CHUNK_BYTES as u64)?;
    }
    Ok(())
}

/// Milliseconds of the middle one of some turns.
fn middle(mut turn: impl FnMut(usize) -> Outcome<f64>) -> Outcome<f64> {
    let mut times = (0..TURNS).map(&mut turn).collect::<Outcome<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[TURNS / 2])
}

fn timed<T>(what: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let began = Instant::now();
    what()?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

fn print(place: &str, content: &str, mib: u64, what: &str, ms: f64) {
    let mib_per_second = mib as f64 / ms * 1000.0;
    println!(
        r#"{{"place":"{place}","content":"{content}","mib":{mib},"what":"{what}","ms":{ms:.1},"mib_per_second":{mib_per_second:.0}}}"#
    );
}

fn facts(turn: usize) -> Facts {
    Facts {
        engine: "gvisor".into(),
        engine_version: "release-20240729.0".into(),
        engine_flags: vec![],
        cpu_features: vec![],
        image: Digest::from_sha256([3; 32]),
        resources: Resources { vcpu: 1, memory_mib: 64, disk_mib: 1024, processes_max: 100 },
        agent_generation: 1,
        created_at_ms: turn as u64,
        sandbox: "sbx-abcdefghijkmnpqrstuv".into(),
        more: [].into(),
    }
}

/// A store, the directory that is stored, and what is in it.
struct Bench<'a> {
    place: &'a str,
    open: &'a dyn Fn(usize) -> Outcome<Snapshots>,
    work: PathBuf,
}

impl Bench<'_> {
    fn run(&self, name: &str, content: Content, mib: u64) -> Outcome<()> {
        let image = self.work.join("image");
        fs::create_dir_all(&image)?;
        let pages = image.join("pages.img");
        let tell = |what, ms| print(self.place, name, mib, what, ms);
        let again = |is_change| write(&pages, mib, content, is_change);
        tell(
            "fsync of what was written",
            middle(|_| {
                let _ = fs::remove_file(&pages);
                again(false)?;
                timed(|| Ok(File::open(&pages)?.sync_all()?))
            })?,
        );
        tell(
            "store",
            middle(|turn| {
                let _ = fs::remove_file(&pages);
                again(false)?;
                let snapshots = (self.open)(turn)?;
                timed(|| Ok(snapshots.store(&image, &facts(turn))?))
            })?,
        );
        let snapshots = (self.open)(TURNS)?;
        let mut root = snapshots.store(&image, &facts(0))?.root;
        tell("store unchanged", middle(|turn| timed(|| Ok(snapshots.store(&image, &facts(turn + 1))?)))?);
        tell(
            "store a tenth changed",
            middle(|turn| {
                again(true)?;
                timed(|| {
                    root = snapshots.store(&image, &facts(100 + turn))?.root;
                    Ok(())
                })
            })?,
        );
        tell(
            "fetch",
            middle(|turn| {
                let back = self.work.join(format!("back-{turn}"));
                let took = timed(|| Ok(snapshots.fetch(&root, &back)?));
                fs::remove_dir_all(back)?;
                took
            })?,
        );
        Ok(fs::remove_dir_all(&self.work)?)
    }
}

fn main() -> Outcome<()> {
    let directory = std::env::args_os().nth(1).ok_or("snapshots DIRECTORY")?;
    let work = PathBuf::from(directory).join("snapshots");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let s3 = runtime.block_on(S3::start());
    let keys = KeyRing::parse(&format!("key {}", "01".repeat(32)))?;
    let on_disk = |turn: usize| {
        let place = Place::Disk(work.join(format!("store-{turn}")));
        Ok(Snapshots::open(&Settings { place, keys: keys.clone() })?)
    };
    let in_bucket = |turn: usize| {
        s3.objects("").iter().for_each(|name| s3.delete(name));
        let place = Place::Bucket(Box::new(s3.settings(&format!("turn-{turn}"))));
        Ok(Snapshots::open(&Settings { place, keys: keys.clone() })?)
    };
    let disk = Bench { place: "disk", open: &on_disk, work: work.clone() };
    let bucket = Bench { place: "bucket", open: &in_bucket, work: work.clone() };
    for (name, content, mib) in
        [("noise", Content::Noise, 64), ("noise", Content::Noise, 512), ("mixed", Content::Mixed, 512)]
    {
        disk.run(name, content, mib)?;
        bucket.run(name, content, mib)?;
    }
    disk.run("mixed", Content::Mixed, 2048)
}
