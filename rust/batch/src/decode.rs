//! F frames to columns, with one outcome each.

use codec8::{AvlPacket, Columns, DecodeError, Limits, RejectReason, Transport};

use crate::guard::guarded;
use crate::reject::{EntryFault, Reject};

/// Envelopes are checked for about this many bytes of frames before their records are read.
///
/// CRC and walk get in each other's way when they alternate frame by frame, and the bytes must
/// still lie in the L2 cache when they are read again (`benches/decode.rs`).
const RUN_BYTES: usize = 96 << 10;

/// How a frame is wrapped, or what was wrong with the stream entry that should have held it.
pub type Source = Result<Transport, EntryFault>;

/// What became of F frames. Invariant: all columns but `record_offsets` and `rejects` have length F.
#[derive(Default)]
pub struct Outcomes {
    /// Number of the reject code, 0 where the frame decoded.
    pub reject_code: Vec<u8>,
    /// Where the offending field starts in its frame.
    pub reject_offset: Vec<u32>,
    /// Codec id, 0 where unknown.
    pub codec_id: Vec<u8>,
    /// F + 1 offsets: the records of frame i are `record_offsets[i]..record_offsets[i + 1]`.
    pub record_offsets: Vec<u32>,
    /// The rejected frames, ascending.
    pub rejects: Vec<(usize, Reject)>,
}

/// Decodes F frames, each with its source, into `columns`, which must be empty.
///
/// # Panics
/// If there are fewer sources than frames.
#[must_use]
pub fn decode_all(
    frames: &[&[u8]],
    sources: &[Source],
    limits: Limits,
    columns: &mut Columns,
) -> Outcomes {
    let mut outcomes = Outcomes::for_frames(frames.len());
    let mut packets = Vec::new();
    let mut rest = (frames, sources);
    while !rest.0.is_empty() {
        let n = run_length(rest.0);
        let (run, sources) = (rest.0[..n].iter(), rest.1[..n].iter());
        rest = (&rest.0[n..], &rest.1[n..]);
        packets.clear();
        packets.extend(
            run.zip(sources)
                .map(|(frame, source)| check(frame, *source, limits, columns)),
        );
        for packet in &packets {
            let outcome = read(packet, outcomes.n_frames(), columns);
            outcomes.push(outcome, columns.n_records());
        }
    }
    outcomes
}

/// How many frames make up the next run: one at least.
fn run_length(frames: &[&[u8]]) -> usize {
    let mut n_bytes = 0;
    let fits = frames.iter().take_while(|frame| {
        n_bytes += frame.len();
        n_bytes <= RUN_BYTES
    });
    fits.count().max(1)
}

fn check<'a>(
    frame: &'a [u8],
    source: Source,
    limits: Limits,
    columns: &mut Columns,
) -> Result<AvlPacket<'a>, Reject> {
    let transport = source.map_err(Reject::Entry)?;
    guarded(columns, |_| {
        codec8::check_envelope(frame, transport, &limits)
    })
}

/// Reads the records of a packet and returns its codec id, or that of the rejected frame.
fn read(
    packet: &Result<AvlPacket<'_>, Reject>,
    frame_index: usize,
    columns: &mut Columns,
) -> (u8, Result<(), Reject>) {
    let packet = match packet {
        Ok(packet) => packet,
        Err(reject) => return (codec_id_of(reject), Err(*reject)),
    };
    let frame_index = u32::try_from(frame_index).unwrap_or(u32::MAX);
    let outcome = guarded(columns, |columns| packet.decode_into(frame_index, columns));
    (packet.codec_id().number(), outcome)
}

/// The codec id that a rejection names, 0 where it names none.
fn codec_id_of(reject: &Reject) -> u8 {
    match reject {
        Reject::Frame(DecodeError::Rejected {
            reason: RejectReason::UnsupportedCodec { codec_id } | RejectReason::NotAvl { codec_id },
            ..
        }) => *codec_id,
        _ => 0,
    }
}

impl Outcomes {
    fn for_frames(n_frames: usize) -> Self {
        let mut record_offsets = Vec::with_capacity(n_frames + 1);
        record_offsets.push(0);
        Self {
            reject_code: Vec::with_capacity(n_frames),
            reject_offset: Vec::with_capacity(n_frames),
            codec_id: Vec::with_capacity(n_frames),
            record_offsets,
            rejects: Vec::new(),
        }
    }

    /// F, the number of frames.
    #[must_use]
    pub fn n_frames(&self) -> usize {
        self.reject_code.len()
    }

    /// Cuts the frames into runs `start..stop` of at most `max_records` records, or one frame.
    #[must_use]
    pub fn chunks(&self, max_records: usize) -> Vec<(usize, usize)> {
        let offsets = &self.record_offsets;
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < self.n_frames() {
            let bound = (offsets[start] as usize).saturating_add(max_records);
            let within = offsets[start + 1..].partition_point(|&offset| offset as usize <= bound);
            let stop = start + within.max(1);
            chunks.push((start, stop));
            start = stop;
        }
        chunks
    }

    fn push(&mut self, (codec_id, outcome): (u8, Result<(), Reject>), n_records: usize) {
        let frame_index = self.n_frames();
        self.codec_id.push(codec_id);
        self.reject_code.push(0);
        self.reject_offset.push(0);
        // Bound: `MAX_BATCH_BYTES` keeps all records of a batch below 2^32.
        self.record_offsets
            .push(u32::try_from(n_records).unwrap_or(u32::MAX));
        if let Err(reject) = outcome {
            self.reject(frame_index, reject);
        }
    }

    /// Rejects a frame that is not rejected yet.
    fn reject(&mut self, frame_index: usize, reject: Reject) {
        if self.reject_code[frame_index] != 0 {
            return;
        }
        self.reject_code[frame_index] = reject.code().number();
        self.reject_offset[frame_index] = u32::try_from(reject.offset()).unwrap_or(u32::MAX);
        self.rejects.push((frame_index, reject));
    }

    /// Rejects the frames that hold a record whose time Postgres cannot hold; the records stay.
    pub fn reject_unstorable_times(&mut self, columns: &Columns) {
        for (record, &timestamp_ms) in columns.recorded_at_ms().iter().enumerate() {
            if !rows::is_storable(timestamp_ms) {
                let offset = columns.raw_start()[record];
                let frame_index = columns.frame_index()[record] as usize;
                self.reject(
                    frame_index,
                    Reject::UnstorableTime {
                        offset,
                        timestamp_ms,
                    },
                );
            }
        }
        self.rejects.sort_by_key(|(frame_index, _)| *frame_index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vendor wiki, Codec 8, TCP example 2: one record.
    const GOOD: [u8; 52] = [
        0, 0, 0, 0, 0, 0, 0, 0x28, 0x08, 1, 0, 0, 0x01, 0x6B, 0x40, 0xD9, 0xAD, 0x80, 1, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 2, 0x15, 3, 1, 1, 1, 0x42, 0x5E, 0x10, 0, 0, 1,
        0, 0, 0xF2, 0x2A,
    ];

    const TCP: Source = Ok(Transport::Tcp);

    fn decode(frames: &[&[u8]], sources: &[Source]) -> (Columns, Outcomes) {
        let mut columns = Columns::new();
        let outcomes = decode_all(frames, sources, Limits::default(), &mut columns);
        (columns, outcomes)
    }

    #[test]
    fn a_bad_frame_between_good_ones_costs_only_itself() {
        let frames = [&GOOD[..], &GOOD[..20], &[], &GOOD];
        let (columns, outcomes) =
            decode(&frames, &[TCP, TCP, Err(EntryFault::PayloadTrimmed), TCP]);
        assert_eq!(columns.frame_index(), [0, 3]);
        assert_eq!(outcomes.record_offsets, [0, 1, 1, 1, 2]);
        assert_eq!(outcomes.reject_code, [0, 1, 17, 0]);
        assert_eq!(outcomes.reject_offset, [0, 8, 0, 0]);
        assert_eq!(outcomes.codec_id, [8, 0, 0, 8]);
        assert_eq!(
            outcomes.rejects.iter().map(|(i, _)| *i).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn frames_of_many_runs_decode_in_order() {
        let (columns, outcomes) = decode(&vec![&GOOD[..]; 5_000], &vec![TCP; 5_000]);
        assert!(columns.frame_index().iter().copied().eq(0..5_000));
        assert_eq!(outcomes.record_offsets.last(), Some(&5_000));
    }

    #[test]
    fn a_chunk_has_as_many_frames_as_fit_and_one_at_least() {
        let (_, outcomes) = decode(&[&GOOD[..], &[], &GOOD, &GOOD, &GOOD], &[TCP; 5]);
        assert_eq!(outcomes.chunks(2), [(0, 3), (3, 5)]);
        assert_eq!(outcomes.chunks(0), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!(outcomes.chunks(usize::MAX), [(0, 5)]);
        assert_eq!(Outcomes::for_frames(0).chunks(9), []);
    }

    #[test]
    fn a_frame_above_the_size_of_a_run_is_a_run_of_its_own() {
        let large = vec![0u8; RUN_BYTES + 1];
        assert_eq!(run_length(&[&large, &large]), 1);
        assert_eq!(run_length(&[&GOOD, &large]), 1);
    }

    #[test]
    fn an_unstorable_time_is_flagged_at_its_timestamp_and_its_records_stay() {
        let mut record = 9_224_318_016_000_000u64.to_be_bytes().to_vec();
        record.extend([0; 22]);
        let frame = [&[0x08, 1][..], &record, &[1]].concat();
        let (columns, mut outcomes) = decode(&[&GOOD, &frame], &[TCP, Ok(Transport::Udp)]);
        assert_eq!(outcomes.reject_code, [0, 0]);
        outcomes.reject_unstorable_times(&columns);
        assert_eq!(outcomes.reject_code, [0, 13]);
        assert_eq!(outcomes.reject_offset, [0, 2]);
        assert_eq!(columns.n_records(), 2);
    }
}
