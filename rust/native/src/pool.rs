//! Columns of dropped batches, kept for the next ones: fresh megabytes cost page faults.

use std::sync::Mutex;

use codec8::Columns;

/// Bound: the batches that a process decodes, writes and reads ahead at the same time.
const POOLED: usize = 4;

/// Bound: columns that grew beyond this go back to the system; usual batches take about 1 MiB.
const POOLED_BYTES: usize = 32 << 20;

#[expect(
    clippy::vec_box,
    reason = "a pointer is moved, not 400 bytes of vectors"
)]
static POOL: Mutex<Vec<Box<Columns>>> = Mutex::new(Vec::new());

/// Empty columns, with memory if some were given back.
pub(crate) fn take() -> Box<Columns> {
    POOL.lock()
        .ok()
        .and_then(|mut pool| pool.pop())
        .unwrap_or_default()
}

/// Gives columns back; their records are gone.
pub(crate) fn give_back(mut columns: Box<Columns>) {
    if columns.capacity_bytes() > POOLED_BYTES {
        return;
    }
    columns.clear();
    if let Ok(mut pool) = POOL.lock()
        && pool.len() < POOLED
    {
        pool.push(columns);
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
        assert_eq!(POOL.lock().unwrap().len(), POOLED);
        assert_eq!(take().n_records(), 0);
    }
}
