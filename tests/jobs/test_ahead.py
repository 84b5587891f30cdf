"""LookAhead: the temporal method advances while a frame is optimised, with the same results."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES
from moving_frames import write_moving
from test_pipeline import Inverter, make  # noqa: F401 - a fixture

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import SourceFrame
from vidstyle.errors import CancelledError, MediaError
from vidstyle.jobs import frame_loop, plan
from vidstyle.jobs.ahead import LookAhead
from vidstyle.jobs.pipeline import run
