"""Gates: read decisions from Kafka, act on each part at its belt time, and fail safe without a decision."""

from actuators.actuator import Actuator, Instruction, InstructionReason, LineStop
from actuators.consumer import DecisionConsumer, Undecodable
from actuators.counts import ConsumerCounts, GateState, GateStats, TrackerCounts
from actuators.drift_watch import DriftStats, DriftWatch
from actuators.errors import GateError, GateFull
from actuators.fault import Fault
from actuators.gate import GateRunner
from actuators.plugins import load_actuator
from actuators.schedule import ExpectedPart, schedule
from actuators.settings import GateSettings, OnDrift
from actuators.simulated import Belt, SimulatedGate
from actuators.tracker import OfferResult, PartTracker
from actuators.triggers import FrameTriggers

__all__ = [
    "Actuator",
    "Belt",
    "ConsumerCounts",
    "DecisionConsumer",
    "DriftStats",
    "DriftWatch",
    "ExpectedPart",
    "Fault",
    "FrameTriggers",
    "GateError",
    "GateFull",
    "GateRunner",
    "GateSettings",
    "GateState",
    "GateStats",
    "Instruction",
    "InstructionReason",
    "LineStop",
    "OfferResult",
    "OnDrift",
    "PartTracker",
    "SimulatedGate",
    "TrackerCounts",
    "Undecodable",
    "load_actuator",
    "schedule",
]
