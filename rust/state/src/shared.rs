//! A state that several threads work on.

use std::sync::{Mutex, MutexGuard};

use crate::device_state::DeviceState;

/// A state behind a lock. A thread that panics with it in hand leaves an empty one to the next.
pub struct SharedState(Mutex<DeviceState>);

impl SharedState {
    /// Shares a state.
    #[must_use]
    pub fn new(state: DeviceState) -> Self {
        Self(Mutex::new(state))
    }

    /// The state, once no other thread works on it; emptied if one panicked meanwhile, for what it
    /// was at may be half done.
    pub fn lock(&self) -> MutexGuard<'_, DeviceState> {
        self.0.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.clear();
            self.0.clear_poison();
            state
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn after_a_panic_the_state_is_empty_and_works_again() {
        let shared = SharedState::new(DeviceState::new(2, 0));
        shared.lock().hydrate(1, None);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _state = shared.lock();
            panic!("injected with the state in hand");
        }));
        assert!(panicked.is_err());
        assert_eq!(shared.lock().n_devices(), 0);
        shared.lock().hydrate(2, None);
        assert!(shared.lock().holds(2));
    }
}
