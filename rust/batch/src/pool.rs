//! Memory of dropped batches and COPY streams, kept for the next: fresh megabytes cost page faults.

use std::sync::Mutex;

use codec8::Columns;

/// Bound: the batches that a process decodes, writes and reads ahead at the same time.
const POOLED: usize = 4;

/// Bound: what grew beyond this goes back to the system; usual batches take about 1 MiB.
const POOLED_BYTES: usize = 32 << 20;

static COLUMNS: Pool<Box<Columns>> = Pool::new();
static ROOMS: Pool<Vec<u8>> = Pool::new();

/// Empty columns, with memory if some were given back.
#[must_use]
pub fn take() -> Box<Columns> {
    COLUMNS.take()
}

/// Gives columns back; their records are gone.
pub fn give_back(mut columns: Box<Columns>) {
    columns.clear();
    let n_bytes = columns.capacity_bytes();
    COLUMNS.give_back(columns, n_bytes);
}

/// Room for a COPY stream, used before if some was given back.
#[must_use]
pub fn take_room() -> Vec<u8> {
    ROOMS.take()
}

/// Gives the room of a COPY stream back, bytes and all.
pub fn give_back_room(room: Vec<u8>) {
    let n_bytes = room.capacity();
    ROOMS.give_back(room, n_bytes);
}

struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> T {
        self.0
            .lock()
            .ok()
            .and_then(|mut pool| pool.pop())
            .unwrap_or_default()
    }

    fn give_back(&self, item: T, n_bytes: usize) {
        if n_bytes <= POOLED_BYTES
            && let Ok(mut pool) = self.0.lock()
            && pool.len() < POOLED
        {
            pool.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_columns_come_back_empty_and_no_more_than_the_bound_are_kept() {
        for _ in 0..=POOLED {
            give_back(Box::default());
        }
        assert_eq!(COLUMNS.0.lock().unwrap().len(), POOLED);
        assert_eq!(take().n_records(), 0);
    }

    #[test]
    fn given_room_comes_back_unless_it_grew_beyond_the_bound() {
        let pool: Pool<Vec<u8>> = Pool::new();
        pool.give_back(vec![7], POOLED_BYTES + 1);
        assert!(pool.take().is_empty());
        pool.give_back(vec![7], POOLED_BYTES);
        assert_eq!(pool.take(), [7]);
    }
}
