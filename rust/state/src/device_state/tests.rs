use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::device::FRAMES;

/// The devices held, who has not sent for longest first; both directions of the order agree.
fn order(state: &DeviceState) -> Vec<i64> {
    let walk = |start, next: fn(&Device) -> u32| {
        let mut imeis = Vec::new();
        let mut at = start;
        while let Some(device) = state.devices.get(at as usize) {
            imeis.push(device.imei);
            assert!(imeis.len() <= state.devices.len(), "a ring");
            at = next(device);
        }
        imeis
    };
    let forwards = walk(state.oldest, |device| device.newer);
    let mut backwards = walk(state.newest, |device| device.older);
    backwards.reverse();
    assert_eq!(forwards, backwards);
    assert_eq!(forwards.len(), state.devices.len());
    assert_eq!(state.places.len(), state.devices.len());
    forwards
}

fn position(recorded_at_us: i64, digest: i64) -> Position {
    Position {
        recorded_at_us,
        digest,
        longitude_e7: 1,
        latitude_e7: 2,
    }
}

#[test]
fn the_device_that_has_not_sent_for_longest_is_forgotten_first() {
    let mut state = DeviceState::new(3, 0);
    for imei in [1, 2, 3] {
        state.hydrate(imei, None);
    }
    assert_eq!(state.cold(&[1, 4]), [4]);
    state.hydrate(4, None);
    assert_eq!(order(&state), [3, 1, 4]);
    assert_eq!((state.hits(), state.misses(), state.evictions()), (1, 1, 1));
}

#[test]
fn a_bound_of_one_device_holds_the_last() {
    let mut state = DeviceState::new(1, 0);
    for imei in [5, 6, 7] {
        state.hydrate(imei, None);
    }
    assert_eq!((order(&state), state.evictions()), (vec![7], 2));
}

#[test]
fn what_a_commit_raised_meanwhile_is_not_lowered_by_an_older_look() {
    let mut state = DeviceState::new(2, 0);
    state.hydrate(1, None);
    state.advance(1, position(9, 0));
    state.hydrate(1, Some(position(8, 5)));
    assert_eq!(state.position(1), Some(position(9, 0)));
    state.hydrate(1, None);
    assert_eq!(state.position(1), Some(position(9, 0)));
    state.hydrate(1, Some(position(9, 1)));
    assert_eq!(state.position(1), Some(position(9, 1)));
}

#[test]
fn a_device_that_is_not_held_is_not_learnt_from_a_commit() {
    let mut state = DeviceState::new(2, 0);
    state.remember(1, 7, false);
    state.advance(1, position(9, 0));
    assert!(!state.holds(1) && !state.has_sane_frame(1, 7));
}

#[test]
fn a_device_forgotten_and_held_again_has_nothing_of_before() {
    let mut state = DeviceState::new(2, 0);
    state.hydrate(1, Some(position(9, 0)));
    state.remember(1, 7, false);
    assert!(state.forget(1));
    assert!(!state.forget(1));
    state.hydrate(1, None);
    assert_eq!(state.position(1), None);
    assert!(!state.has_sane_frame(1, 7));
}

#[test]
fn clearing_gives_memory_back_and_keeps_the_counts() {
    let mut state = DeviceState::new(1_000, 0);
    let imeis: Vec<i64> = (0..1_000).collect();
    for imei in state.cold(&imeis) {
        state.hydrate(imei, None);
    }
    assert!(state.n_bytes() > 80_000);
    state.clear();
    assert_eq!((state.n_devices(), state.n_bytes()), (0, 0));
    assert_eq!(state.misses(), 1_000);
    assert_eq!(order(&state), []);
}

#[test]
fn a_device_takes_no_more_than_150_bytes_however_many_there_are() {
    // The first is just more than half of a table of places, which doubles when it is turned over.
    for (devices_max, imeis) in [(458_753, 0..1_000_000_i64), (1_000_000, 0..1_000_000)] {
        let mut state = DeviceState::new(devices_max, 1);
        for imei in imeis {
            state.hydrate(imei, None);
            if imei % 4_096 == 4_095 {
                assert!(state.n_bytes() <= 150 * state.n_devices(), "at {imei}");
            }
        }
        assert_eq!(state.n_devices(), devices_max);
        assert!(state.n_bytes() <= 150 * devices_max);
    }
}

/// Imei, position, and digest and suspicion of the last frames.
type ModelDevice = (i64, Option<Position>, Vec<(u64, bool)>);

/// The same in the plainest form: who sent last stands last.
#[derive(Default)]
struct Model {
    devices: Vec<ModelDevice>,
    devices_max: usize,
    evictions: u64,
}

impl Model {
    fn place(&self, imei: i64) -> Option<usize> {
        self.devices.iter().position(|device| device.0 == imei)
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Cold(imeis) => {
                for imei in imeis {
                    if let Some(at) = self.place(*imei) {
                        let device = self.devices.remove(at);
                        self.devices.push(device);
                    }
                }
            }
            Step::Hydrate(imei, position) => {
                if self.place(*imei).is_none() {
                    if self.devices.len() == self.devices_max {
                        self.devices.remove(0);
                        self.evictions += 1;
                    }
                    self.devices.push((*imei, None, Vec::new()));
                }
                self.raise(*imei, *position);
            }
            Step::Remember(imei, frame, is_suspect) => {
                let Some(at) = self.place(*imei) else { return };
                let frames = &mut self.devices[at].2;
                match frames.iter_mut().find(|held| held.0 == *frame) {
                    Some(held) => held.1 &= is_suspect,
                    None => frames.push((*frame, *is_suspect)),
                }
                if frames.len() > FRAMES {
                    frames.remove(0);
                }
            }
            Step::Advance(imei, position) => self.raise(*imei, Some(*position)),
            Step::Forget(imei) => self.devices.retain(|device| device.0 != *imei),
            Step::Clear => self.devices.clear(),
        }
    }

    fn raise(&mut self, imei: i64, position: Option<Position>) {
        let Some(at) = self.place(imei) else { return };
        let pair = |position: Option<Position>| position.map(|p| (p.recorded_at_us, p.digest));
        if pair(position) > pair(self.devices[at].1) {
            self.devices[at].1 = position;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Cold(Vec<i64>),
    Hydrate(i64, Option<Position>),
    Remember(i64, u64, bool),
    Advance(i64, Position),
    Forget(i64),
    Clear,
}

impl Step {
    fn on(&self, state: &mut DeviceState) {
        match self {
            Self::Cold(imeis) => drop(state.cold(imeis)),
            Self::Hydrate(imei, position) => state.hydrate(*imei, *position),
            Self::Remember(imei, frame, is_suspect) => state.remember(*imei, *frame, *is_suspect),
            Self::Advance(imei, position) => state.advance(*imei, *position),
            Self::Forget(imei) => drop(state.forget(*imei)),
            Self::Clear => state.clear(),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let imei = 0..9_i64;
    let position = (0..3_i64, -1..2_i64).prop_map(|(time, digest)| position(time, digest));
    let imeis = proptest::collection::btree_set(imei.clone(), 0..9);
    vec(
        prop_oneof![
            6 => imeis.prop_map(|imeis| Step::Cold(imeis.into_iter().collect())),
            9 => (imei.clone(), proptest::option::of(position.clone()))
                .prop_map(|(imei, position)| Step::Hydrate(imei, position)),
            9 => (imei.clone(), 0..7_u64, any::<bool>())
                .prop_map(|(imei, frame, is_suspect)| Step::Remember(imei, frame, is_suspect)),
            6 => (imei.clone(), position).prop_map(|(imei, position)| Step::Advance(imei, position)),
            2 => imei.prop_map(Step::Forget),
            1 => Just(Step::Clear),
        ],
        0..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_steps_leave_what_they_leave_in_the_plainest_form(
        steps in steps(), devices_max in 1_usize..7, seed: u64,
    ) {
        let mut state = DeviceState::new(devices_max, seed);
        let mut model = Model { devices_max, ..Model::default() };
        for step in &steps {
            step.on(&mut state);
            model.apply(step);
            let expected: Vec<i64> = model.devices.iter().map(|device| device.0).collect();
            prop_assert_eq!(order(&state), expected);
            prop_assert_eq!(state.evictions(), model.evictions);
        }
        for imei in 0..9 {
            let held = model.devices.iter().find(|device| device.0 == imei);
            prop_assert_eq!(state.holds(imei), held.is_some());
            prop_assert_eq!(state.position(imei), held.and_then(|device| device.1));
            for frame in 0..7 {
                let is_sane = held.is_some_and(|device| device.2.contains(&(frame, false)));
                prop_assert_eq!(state.has_sane_frame(imei, frame), is_sane);
            }
        }
    }

    #[test]
    fn devices_asked_for_are_hits_or_misses(held in 0..50_i64, asked in 0..80_i64) {
        let mut state = DeviceState::new(100, 0);
        (0..held).for_each(|imei| state.hydrate(imei, None));
        let cold = state.cold(&(0..asked).collect::<Vec<_>>());
        prop_assert_eq!(cold, (held..asked).collect::<Vec<_>>());
        prop_assert_eq!(state.hits(), asked.min(held).cast_unsigned());
        prop_assert_eq!(state.misses(), (asked - held).max(0).cast_unsigned());
    }
}
