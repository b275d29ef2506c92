//! Random cases by number: each has its own seed, so that a wrong one can be run alone, and all are
//! run, so that it can be told how many are wrong.

/// `SplitMix64`. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
pub struct Random(u64);

/// What a case came to.
pub enum Outcome {
    Right,
    /// Something in it lies so near to a decision that the oracle cannot tell.
    Undecided,
    Wrong(String),
}

impl Random {
    pub fn new(seed: u64) -> Self {
        // Mixed: the streams of neighbouring seeds would be one stream, shifted by a number.
        Self(Self(seed).next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `count` - 1.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    /// `low` to `high`, both included.
    pub fn whole(&mut self, low: i32, high: i32) -> i32 {
        low + i32::try_from(self.below(usize::try_from(high - low).unwrap() + 1)).unwrap()
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX);
        low + unit * (high - low)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Runs the cases with the seeds 1 to `cases`, or the one that `TIMING_SEED` named when it was built.
///
/// At most `undecided_max` percent of them may be undecided, or the test says too little.
pub fn check(cases: u64, undecided_max: u64, case: impl Fn(&mut Random) -> Outcome) {
    let only = option_env!("TIMING_SEED").map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(1..=cases, |seed| seed..=seed);
    let mut wrong = Vec::new();
    let mut undecided = 0;
    for seed in seeds {
        match case(&mut Random::new(seed)) {
            Outcome::Right => {}
            Outcome::Undecided => undecided += 1,
            Outcome::Wrong(what) => wrong.push((seed, what)),
        }
    }
    println!("{} of {cases} wrong, {undecided} undecided", wrong.len());
    let first = wrong
        .iter()
        .take(3)
        .map(|(seed, what)| format!("seed {seed}: {what}"));
    let first: Vec<_> = first.collect();
    assert!(
        wrong.is_empty(),
        "{} of {cases} wrong\n{}",
        wrong.len(),
        first.join("\n")
    );
    assert!(
        undecided * 100 <= cases * undecided_max,
        "{undecided} of {cases} undecided"
    );
}
