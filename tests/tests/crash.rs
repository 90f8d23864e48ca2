//! The real binary on the real engine, killed in every part and at every step.
//!
//! `SEED` replays a run; `SOAK_SECONDS` says how long to go on.

use std::time::{Duration, Instant};

use tests::crash::drill::Drill;
use tests::crash::plan::{Dice, Plan};

/// How long a run takes that is not told.
const SECONDS: u64 = 120;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_at_whatever_step_nothing_is_lost_and_nothing_leaks() {
    let seed = number("SEED").unwrap_or_else(|| {
        std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
    });
    println!("SEED={seed}");
    let bound = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(SECONDS));
    let began = Instant::now();
    let mut dice = Dice::new(seed);
    let mut drill = Drill::begin().await;
    let mut carried_out = 0;
    while began.elapsed() < bound {
        let mut plans = Plan::at_steps();
        plans.extend((0..plans.len()).map(|_| Plan::at_random(&mut dice)));
        dice.shuffle(&mut plans);
        for plan in plans {
            if began.elapsed() >= bound {
                break;
            }
            println!("{:>7.1} s  {plan}", began.elapsed().as_secs_f32());
            drill.carry_out(plan).await;
            carried_out += 1;
        }
    }
    drill.plant_a_leak().await;
    let starts = drill.end().await;
    println!("{carried_out} crashes; {starts}");
    starts.judge().unwrap();
}
