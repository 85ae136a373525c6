"""The one error tree. A shell translates every foreign exception into one of these; the command line prints one line.

TerangError
├── UsageError               a person asked for something that cannot be: exit code 2
│   └── SettingError         a setting is missing, unknown or out of range
├── CodecError               bytes that are not what the device protocol allows
│   ├── NotCanonical         right in meaning, but not the one permitted byte form
│   └── TooLarge             over the limit for one envelope
├── SignatureError           a signature does not verify under the key it must
├── MeterError               a meter gave no usable answer
│   ├── BusError             the serial line is closed, silent or owned by another process
│   └── FrameError           an answer came, but cannot be trusted: CRC, address, function, length or plausibility
├── DeviceError              the device cannot keep its promise
│   ├── KeyInUse             another process holds this device's key
│   ├── OutboxFull           no room left to keep readings until they are anchored
│   └── OutboxBroken         the outbox file cannot be used any more
├── CoreError                the core does not answer, or not in a way that can be understood
├── StoreError               the store cannot be opened, read or written
│   ├── StoreInUse           another process is the writer
│   └── StoreBehind          the store is older than what was signed or anchored
├── LedgerError              the log, its batches or its checkpoints do not hold together
│   ├── LogForked            signing would contradict an earlier signature
│   ├── BatchUnfaithful      a batch does not decode to the records it stands for
│   └── ProofError           a proof does not prove what it claims
├── ChainError               the chain did not do what was asked
│   ├── ChainInUse           another process is the writer
│   ├── ChainUnreachable     no answer from the node
│   ├── ChainRefused         the node answered no
│   └── ChainCorrupt         the chain on disk or from a peer breaks the rules
├── BrokerError              the MQTT broker cannot be reached or refused the login
└── KitError                 a kit is broken; its name is in the message
"""

__all__ = [
    "BatchUnfaithful",
    "BrokerError",
    "BusError",
    "ChainCorrupt",
    "ChainError",
    "ChainInUse",
    "ChainRefused",
    "ChainUnreachable",
    "CodecError",
    "CoreError",
    "DeviceError",
    "FrameError",
    "KeyInUse",
    "KitError",
    "LedgerError",
    "LogForked",
    "MeterError",
    "NotCanonical",
    "OutboxBroken",
    "OutboxFull",
    "ProofError",
    "SettingError",
    "SignatureError",
    "StoreBehind",
    "StoreError",
    "StoreInUse",
    "TerangError",
    "TooLarge",
    "UsageError",
]


class TerangError(Exception):
    """Anything that Terang itself says went wrong; its text is one line that says what to do."""


class UsageError(TerangError):
    """A person asked for something that cannot be: exit code 2."""


class SettingError(UsageError):
    """A setting is missing, unknown or out of range."""


class CodecError(TerangError):
    """Bytes that are not what the device protocol allows."""


class NotCanonical(CodecError):
    """Right in meaning, but not the one permitted byte form."""


class TooLarge(CodecError):
    """Over the limit for one envelope."""


class SignatureError(TerangError):
    """A signature does not verify under the key it must."""


class MeterError(TerangError):
    """A meter gave no usable answer."""


class BusError(MeterError):
    """The serial line is closed, silent or owned by another process."""


class FrameError(MeterError):
    """An answer came, but cannot be trusted: CRC, address, function, length or plausibility."""


class DeviceError(TerangError):
    """The device cannot keep its promise."""


class KeyInUse(DeviceError):
    """Another process holds this device's key."""


class OutboxFull(DeviceError):
    """No room left to keep readings until they are anchored."""


class OutboxBroken(DeviceError):
    """The outbox file cannot be used any more."""


class CoreError(TerangError):
    """The core does not answer, or not in a way that can be understood."""


class StoreError(TerangError):
    """The store cannot be opened, read or written."""


class StoreInUse(StoreError):
    """Another process is the writer."""


class StoreBehind(StoreError):
    """The store is older than what was signed or anchored."""


class LedgerError(TerangError):
    """The log, its batches or its checkpoints do not hold together."""


class LogForked(LedgerError):
    """Signing would contradict an earlier signature."""


class BatchUnfaithful(LedgerError):
    """A batch does not decode to the records it stands for."""


class ProofError(LedgerError):
    """A proof does not prove what it claims."""


class ChainError(TerangError):
    """The chain did not do what was asked."""


class ChainInUse(ChainError):
    """Another process is the writer."""


class ChainUnreachable(ChainError):
    """No answer from the node."""


class ChainRefused(ChainError):
    """The node answered no."""


class ChainCorrupt(ChainError):
    """The chain on disk or from a peer breaks the rules."""


class BrokerError(TerangError):
    """The MQTT broker cannot be reached or refused the login."""


class KitError(TerangError):
    """A kit is broken; its name is in the message."""
