//! Every way through a life, told and searched.

use super::*;
use proptest::prelude::*;

fn any_event() -> impl Strategy<Value = Event> {
    let text = || Just(String::from("seen"));
    prop_oneof![
        Just(Event::CameUp),
        text().prop_map(Event::BringUpFailed),
        Just(Event::Booted),
        text().prop_map(Event::BootFailed),
        Just(Event::Stopped),
        prop_oneof![Just(Reason::Deleted), Just(Reason::Timeout)].prop_map(Event::Delete),
        Just(Event::TimeUp),
        (any::<bool>(), text())
            .prop_map(|(out_of_memory, evidence)| Event::EngineExited { out_of_memory, evidence }),
        (any::<bool>(), text()).prop_map(|(full, evidence)| Event::DiskFailed { full, evidence }),
        text().prop_map(Event::AgentLost),
        Just(Event::Capture),
        Just(Event::Captured),
        Just(Event::WentOn),
        Just(Event::CaptureFailed(CaptureFailure::Refused)),
        any::<bool>().prop_map(|out_of_memory| Event::CaptureFailed(fatal(out_of_memory))),
        Just(Event::Released),
        text().prop_map(Event::ReleaseFailed),
        Just(Event::Wake),
        Just(Event::TornDown),
        text().prop_map(Event::TearDownFailed),
    ]
}

fn fatal(out_of_memory: bool) -> CaptureFailure {
    CaptureFailure::Fatal { out_of_memory, evidence: "seen".into() }
}

/// How work under way may end: well or badly.
fn ending(work: Work, well: bool) -> Event {
    match (work, well) {
        (Work::BringUp | Work::Restore, true) => Event::CameUp,
        (Work::BringUp | Work::Restore, false) => Event::BringUpFailed("seen".into()),
        (Work::Boot, true) => Event::Booted,
        (Work::Boot, false) => Event::BootFailed("seen".into()),
        (Work::Stop, _) => Event::Stopped,
        (Work::Capture, true) => Event::Captured,
        (Work::Capture, false) => Event::CaptureFailed(CaptureFailure::Refused),
        (Work::Release, true) => Event::Released,
        (Work::Release, false) => Event::ReleaseFailed("seen".into()),
        (Work::TearDown, true) => Event::TornDown,
        (Work::TearDown, false) => Event::TearDownFailed("seen".into()),
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    any::<[bool; 3]>().prop_map(|[boots, stops, auto_pause]| Plan { boots, stops, auto_pause })
}

fn after(events: &[Event]) -> Life {
    following(Plan::default(), events)
}

fn following(plan: Plan, events: &[Event]) -> Life {
    let (life, _) = Life::begin(plan);
    events.iter().fold(life, |life, event| life.step(event.clone()).0)
}

proptest! {
    #[test]
    fn delete_ends_in_deleted_from_every_reachable_state(
        plan in any_plan(),
        events in prop::collection::vec(any_event(), 0..40),
        endings in prop::collection::vec(any::<bool>(), 0..6),
    ) {
        let mut life = following(plan, &events).step(Event::Delete(Reason::Deleted)).0;
        for well in endings.into_iter().chain([true, true, true]) {
            let Some(work) = life.work else { break };
            life = life.step(ending(work, well)).0;
        }
        prop_assert_eq!(life.state, State::Deleted);
    }

    #[test]
    fn deleted_is_for_ever(
        plan in any_plan(), events in prop::collection::vec(any_event(), 0..40), more in any_event(),
    ) {
        let life = following(plan, &events);
        if life.state == State::Deleted {
            let (after, work) = life.clone().step(more);
            prop_assert_eq!(after, life);
            prop_assert_eq!(work, None);
        }
    }

    #[test]
    fn the_first_cause_of_death_is_the_one_recorded(
        plan in any_plan(), events in prop::collection::vec(any_event(), 0..40), more in any_event(),
    ) {
        let life = following(plan, &events);
        if let Some(death) = life.death.clone() {
            prop_assert_eq!(life.step(more).0.death, Some(death));
        }
    }

    #[test]
    fn nothing_ends_without_a_cause_and_nothing_alive_has_one(
        plan in any_plan(), events in prop::collection::vec(any_event(), 0..40),
    ) {
        let life = following(plan, &events);
        let ending = matches!(life.state, State::Deleting | State::Deleted);
        prop_assert_eq!(ending, life.death.is_some());
    }

    #[test]
    fn work_is_started_only_when_none_is_under_way(
        plan in any_plan(), events in prop::collection::vec(any_event(), 0..40), event in any_event(),
    ) {
        let life = following(plan, &events);
        let before = life.work;
        let ends_it = ends(&event, &life);
        if let Some(started) = life.step(event).1 {
            let gives_up = started == Work::TearDown && matches!(before, Some(Work::Boot | Work::Stop));
            prop_assert!(
                before.is_none() || ends_it || gives_up,
                "{:?} was started during {:?}", started, before
            );
        }
    }
}

/// Every event there is, once with each thing that it can say.
fn every_event() -> Vec<Event> {
    let text = || String::from("seen");
    let exited = |out_of_memory| Event::EngineExited { out_of_memory, evidence: text() };
    vec![
        Event::CameUp,
        Event::Booted,
        Event::BootFailed(text()),
        Event::Stopped,
        Event::BringUpFailed(text()),
        Event::Delete(Reason::Deleted),
        Event::Delete(Reason::Timeout),
        Event::TimeUp,
        exited(true),
        exited(false),
        Event::AgentLost(text()),
        Event::Capture,
        Event::Captured,
        Event::CaptureFailed(CaptureFailure::Refused),
        Event::CaptureFailed(fatal(true)),
        Event::CaptureFailed(fatal(false)),
        Event::Released,
        Event::ReleaseFailed(text()),
        Event::Wake,
        Event::TornDown,
        Event::TearDownFailed(text()),
    ]
}

/// Every way in which a life begins, in this process or after a restart.
fn every_beginning() -> Vec<Life> {
    let death = || Death { reason: Reason::EngineLost, evidence: "seen".into() };
    let plans = (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit != 0));
    let living = plans.flat_map(|[boots, stops, auto_pause]| {
        let plan = Plan { boots, stops, auto_pause };
        [Life::begin(plan).0, Life::adopted(plan), Life::booting(plan).0, Life::paused(plan).0]
    });
    living.chain([Life::lost(death()).0, Life::gone(death())]).collect()
}

/// All that can become of these lives, themselves included, whatever happens and in whatever order.
fn reachable(mut lives: Vec<Life>) -> Vec<Life> {
    let mut looked_at = 0;
    while let Some(life) = lives.get(looked_at).cloned() {
        looked_at += 1;
        for event in every_event() {
            let next = life.clone().step(event).0;
            if !lives.contains(&next) {
                lives.push(next);
            }
        }
    }
    lives
}

/// How much work has yet to end before it is gone, take-downs that fail not counted; `None` if that may never be.
fn distance(life: &Life) -> Option<u32> {
    match (life.state, life.work) {
        (State::Deleted, None) => Some(0),
        (State::Deleting, Some(Work::TearDown)) => Some(1),
        (State::Deleting, Some(Work::Boot)) => None,
        (State::Deleting, Some(_)) => Some(2),
        _ => None,
    }
}

fn ends(event: &Event, life: &Life) -> bool {
    match event {
        Event::CaptureFailed(_) => life.work == Some(Work::Capture),
        _ => life.work.is_some_and(|work| [true, false].map(|well| ending(work, well)).contains(event)),
    }
}

/// Whether work that only waits for something inside is given up for this.
fn gives_up(event: &Event, life: &Life) -> bool {
    match life.work {
        Some(Work::Boot) => {
            matches!(event, Event::Delete(_) | Event::EngineExited { .. } | Event::AgentLost(_))
        }
        Some(Work::Stop) => matches!(event, Event::EngineExited { .. }),
        _ => false,
    }
}

#[test]
fn from_no_state_that_can_be_reached_does_a_delete_lead_anywhere_but_to_deleted() {
    let all = reachable(every_beginning());
    for state in State::ALL {
        assert!(all.iter().any(|life| life.state == state), "{state} is never reached");
    }
    let doomed = all.into_iter().map(|life| life.step(Event::Delete(Reason::Deleted)).0).collect();
    for life in reachable(doomed) {
        let left = distance(&life).unwrap_or_else(|| panic!("{life:?} never ends"));
        for event in every_event() {
            let next = distance(&life.clone().step(event.clone()).0);
            // Only a take-down may fail for a while; nothing that happens in between leads further away.
            let is_over = ends(&event, &life) || gives_up(&event, &life);
            let is_nearer = is_over && !matches!(event, Event::TearDownFailed(_));
            let expected = if is_nearer { left - 1 } else { left };
            assert_eq!(next, Some(expected), "{life:?}, {event:?}");
        }
    }
}

#[test]
fn what_is_under_way_was_started_in_every_state_that_can_be_reached() {
    for life in reachable(every_beginning()) {
        for event in every_event() {
            let (next, started) = life.clone().step(event.clone());
            if life.work.is_none() || ends(&event, &life) || gives_up(&event, &life) {
                assert_eq!(next.work, started, "{life:?}, {event:?}");
            } else {
                assert_eq!((next.work, started), (life.work, None), "{life:?}, {event:?}");
            }
        }
    }
}

#[test]
fn a_delete_during_bring_up_waits_for_it_and_then_takes_everything_down() {
    let (life, work) = after(&[]).step(Event::Delete(Reason::Deleted));
    assert_eq!((life.state(), work), (State::Deleting, None));
    let (life, work) = life.step(Event::CameUp);
    assert_eq!((life.state(), work), (State::Deleting, Some(Work::TearDown)));
    assert_eq!(life.step(Event::TornDown).0.state(), State::Deleted);
}

const BOOTS_AND_STOPS: Plan = Plan { boots: true, stops: true, auto_pause: false };

#[test]
fn one_that_starts_with_something_runs_once_that_is_up() {
    let life = following(BOOTS_AND_STOPS, &[Event::CameUp]);
    assert_eq!((life.state(), life.work), (State::Starting, Some(Work::Boot)));
    assert_eq!(life.clone().step(Event::Booted).0.state(), State::Running);
    let (failed, work) = life.step(Event::BootFailed("exited".into()));
    assert_eq!((failed.state(), work), (State::Deleting, Some(Work::TearDown)));
    assert_eq!(failed.death().map(|death| death.reason), Some(Reason::CreateFailed));
    let (life, work) = Life::booting(BOOTS_AND_STOPS);
    assert_eq!((life.state(), work), (State::Starting, Some(Work::Boot)), "it goes on after a restart");
}

#[test]
fn a_death_does_not_wait_for_what_is_started() {
    let booting = following(BOOTS_AND_STOPS, &[Event::CameUp]);
    let exited = |out_of_memory| Event::EngineExited { out_of_memory, evidence: "seen".into() };
    for (event, reason) in [
        (Event::Delete(Reason::Deleted), Reason::Deleted),
        (exited(false), Reason::CreateFailed),
        (exited(true), Reason::OutOfMemory),
        (Event::AgentLost("silent".into()), Reason::CreateFailed),
    ] {
        let (life, work) = booting.clone().step(event);
        assert_eq!((life.state(), work), (State::Deleting, Some(Work::TearDown)));
        assert_eq!(life.death().map(|death| death.reason), Some(reason));
    }
}

#[test]
fn a_wanted_end_asks_to_stop_first_and_any_other_does_not() {
    let running = following(BOOTS_AND_STOPS, &[Event::CameUp, Event::Booted]);
    for event in [Event::TimeUp, Event::Delete(Reason::Deleted)] {
        let (life, work) = running.clone().step(event);
        assert_eq!((life.state(), work), (State::Deleting, Some(Work::Stop)));
        assert_eq!(life.clone().step(Event::Delete(Reason::Deleted)).1, None, "it is asked once");
        assert_eq!(life.clone().step(Event::Stopped).1, Some(Work::TearDown));
        let exited = Event::EngineExited { out_of_memory: false, evidence: "seen".into() };
        assert_eq!(life.step(exited).1, Some(Work::TearDown), "nobody is left to stop");
    }
    assert_eq!(running.step(Event::AgentLost("silent".into())).1, Some(Work::TearDown));
}

/// What pauses it, in order.
const PAUSED: [Event; 4] = [Event::CameUp, Event::Capture, Event::Captured, Event::Released];

#[test]
fn one_is_paused_when_its_compute_is_gone_and_not_before() {
    let states = [State::Running, State::Snapshotting, State::Snapshotting, State::Paused];
    for (events, state) in states.iter().enumerate() {
        assert_eq!(after(&PAUSED[..=events]).state(), *state);
    }
    let (life, again) = after(&PAUSED[..3]).step(Event::ReleaseFailed("busy".into()));
    assert_eq!((life.state(), again), (State::Snapshotting, Some(Work::Release)));
}

#[test]
fn one_that_wakes_runs_again_or_is_paused_as_before() {
    let (life, work) = after(&PAUSED).step(Event::Wake);
    assert_eq!((life.state(), work), (State::Unpausing, Some(Work::Restore)));
    assert_eq!(life.clone().step(Event::Wake).1, None, "it wakes once");
    assert_eq!(life.clone().step(Event::CameUp).0.state(), State::Running);
    let (life, work) = life.step(Event::BringUpFailed("damaged".into()));
    assert_eq!((life.state(), life.death(), work), (State::Paused, None, None));
}

#[test]
fn one_that_is_needed_while_it_is_given_back_wakes_when_that_is_done() {
    let (life, work) = Life::paused(Plan::default());
    assert_eq!((life.state(), work), (State::Paused, Some(Work::Release)));
    let (life, work) = life.step(Event::Wake);
    assert_eq!((life.state(), work), (State::Unpausing, None));
    assert_eq!(life.step(Event::Released).1, Some(Work::Restore));
}

#[test]
fn time_that_is_up_ends_one_or_pauses_it() {
    let plan = Plan { auto_pause: true, ..Plan::default() };
    let (life, work) = following(plan, &[Event::CameUp]).step(Event::TimeUp);
    assert_eq!((life.state(), work), (State::Snapshotting, Some(Work::Capture)));
    assert_eq!(after(&[Event::CameUp, Event::TimeUp]).state(), State::Deleting);
    assert_eq!(after(&PAUSED).step(Event::TimeUp).0.state(), State::Paused, "it has no time");
}

#[test]
fn a_capture_that_is_refused_leaves_it_running_and_one_that_kills_it_says_so() {
    let capturing = after(&PAUSED[..2]);
    let (life, work) = capturing.clone().step(Event::CaptureFailed(CaptureFailure::Refused));
    assert_eq!((life.state(), work), (State::Running, None));
    let exited = Event::EngineExited { out_of_memory: false, evidence: "seen".into() };
    assert_eq!(capturing.clone().step(exited).0, capturing, "whoever captures it hears of it");
    for (out_of_memory, reason) in [(false, Reason::CheckpointFailed), (true, Reason::OutOfMemory)] {
        let (life, work) = capturing.clone().step(Event::CaptureFailed(fatal(out_of_memory)));
        assert_eq!(life.death().map(|death| death.reason), Some(reason));
        assert_eq!(work, Some(Work::TearDown));
    }
}

#[test]
fn a_delete_wins_over_a_pause_and_over_a_wake_in_each_of_their_moments() {
    let delete = Event::Delete(Reason::Deleted);
    let doomed = |events: &[Event]| after(events).step(delete.clone()).0;
    let capturing = doomed(&PAUSED[..2]);
    for ended in
        [Event::Captured, Event::CaptureFailed(CaptureFailure::Refused), Event::CaptureFailed(fatal(false))]
    {
        let (life, work) = capturing.clone().step(ended);
        assert_eq!((life.state(), work), (State::Deleting, Some(Work::TearDown)));
    }
    for released in [Event::Released, Event::ReleaseFailed("busy".into())] {
        assert_eq!(doomed(&PAUSED[..3]).step(released).1, Some(Work::TearDown));
    }
    assert_eq!(after(&PAUSED).step(delete.clone()).1, Some(Work::TearDown));
    let waking = after(&PAUSED).step(Event::Wake).0.step(delete).0;
    for ended in [Event::CameUp, Event::BringUpFailed("damaged".into())] {
        assert_eq!(waking.clone().step(ended).1, Some(Work::TearDown));
    }
}

#[test]
fn a_take_down_that_fails_is_tried_again() {
    let life = after(&[Event::CameUp, Event::TimeUp]);
    let (life, again) = life.step(Event::TearDownFailed("busy".into()));
    assert_eq!((life.state(), again), (State::Deleting, Some(Work::TearDown)));
}

#[test]
fn an_engine_killed_by_its_memory_limit_says_so() {
    let exited = Event::EngineExited { out_of_memory: true, evidence: "oom_kill 1".into() };
    let life = after(&[Event::CameUp, exited]);
    assert_eq!(life.death().map(|death| death.reason), Some(Reason::OutOfMemory));
}

#[test]
fn a_disk_that_lost_what_was_written_ends_it_and_says_whether_there_was_room() {
    for (full, reason) in [(true, Reason::DiskFull), (false, Reason::EngineLost)] {
        let failed = Event::DiskFailed { full, evidence: "13 errors".into() };
        let life = after(&[Event::CameUp, failed]);
        assert_eq!(life.death().map(|death| death.reason), Some(reason));
    }
}
