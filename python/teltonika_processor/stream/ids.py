"""Ids of stream entries: two unsigned 64-bit numbers, ``ms-seq``, which compare as a pair."""

import re
from typing import Final

NO_ID: Final = "0-0"
"""Before every entry; what a stream or a group that is not there is said to stand at."""

_ID: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")

# For scripts: an id's numbers may be above what a Lua number holds exactly (2**53), so they are
# compared as Redis writes them, without leading zeros: the one with more digits is greater.
LUA_IDS: Final = b"""
local function numbers_of(id) return string.match(id, '^(%d+)%-(%d+)$') end
local function digits_below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function is_below(a, b)
  local a_ms, a_seq = numbers_of(a)
  local b_ms, b_seq = numbers_of(b)
  if a_ms ~= b_ms then return digits_below(a_ms, b_ms) end
  return digits_below(a_seq, b_seq)
end
-- The next id; of a number that cannot be counted up exactly the id itself, which is on the safe
-- side: one entry more is kept.
local function id_after(id)
  local ms, seq = numbers_of(id)
  if #seq > 15 then return id end
  return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end
local function map_of(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end
"""


def id_parts(entry_id: bytes) -> tuple[int, int] | None:
    """Milliseconds and sequence number, to be compared as a pair; None if it is no entry id."""
    match = _ID.fullmatch(entry_id)
    return (int(match[1]), int(match[2])) if match else None


def age_s(entry_id: str, *, now_ms: int) -> float:
    """Seconds since the entry with this id was received; 0.0 for ``0-0`` and ids of the future."""
    if entry_id == NO_ID:
        return 0.0
    return max(0, now_ms - ms_of(entry_id)) / 1e3


def ms_of(entry_id: str) -> int:
    """Unix ms at which the entry was received into the stream."""
    return int(entry_id.partition("-")[0])
