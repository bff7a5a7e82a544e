"""Lifetimes read off an execution: arrays that log what is read and written, when and where."""

from cubie_planner.recording.arrays import (
    POISON,
    Log,
    Place,
    RecordedArray,
    Unwritten,
    Value,
    unused,
)
from cubie_planner.recording.block import RecordingError
from cubie_planner.recording.code_lines import Origin, origins
from cubie_planner.recording.course import Course
from cubie_planner.recording.kernels import Recorded, record
from cubie_planner.recording.liveness import Clash, Life, clash, intervals, life_of, witness
from cubie_planner.recording.phases import OutOfPhase, Recording

__all__ = [
    "POISON",
    "Clash",
    "Course",
    "Life",
    "Log",
    "Origin",
    "OutOfPhase",
    "Place",
    "Recorded",
    "RecordedArray",
    "Recording",
    "RecordingError",
    "Unwritten",
    "Value",
    "clash",
    "intervals",
    "life_of",
    "origins",
    "record",
    "unused",
    "witness",
]
