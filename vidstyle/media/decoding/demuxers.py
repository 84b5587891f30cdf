"""Opening of media files with FFmpeg, restricted to self-contained formats and the named file.

FFmpeg otherwise chooses among more than 300 demuxers by a file's first bytes. Some of them follow
text to other files, devices or the network (HLS, DASH, concat, SDP, IMF, image2 patterns), some
render any text as pictures (tty, subtitles), some are devices.
"""

from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from vidstyle.media.large import check_regular
from vidstyle.memory import memory_limit

__all__ = ["DEMUXERS", "MOST_PIXELS", "open_container", "open_memory"]

# Names of FFmpeg demuxers that read only the file they are given.
DEMUXERS = (
    # video containers
    "mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o",
    "mxf", "ogg", "nut", "rm", "wtv", "dv", "gxf", "nsv", "nuv", "ivf", "lxf", "bink", "smk", "swf",
    # video without a container
    "av1", "obu", "h261", "h263", "h264", "hevc", "vvc", "m4v", "mpegvideo", "vc1", "vc1test",
    "cavsvideo", "dirac", "dnxhd", "mjpeg", "mjpeg_2000", "yuv4mpegpipe", "apv",
    # animations and single pictures that Pillow does not read
    "gif", "apng", "flic", "jpegxl_anim", "jpegxl_pipe", "exr_pipe", "dpx_pipe", "hdr_pipe",
    "psd_pipe", "qoi_pipe", "sgi_pipe", "pcx_pipe", "dds_pipe", "pam_pipe", "pfm_pipe",
    "phm_pipe", "sunrast_pipe", "jpegls_pipe", "jpegxs_pipe",
    # sound, so that the error says that there is no video stream
    "wav", "w64", "aiff", "mp3", "flac", "aac", "ac3", "eac3", "caf",
)  # fmt: skip
MOST_PIXELS = 12288 * 6480  # per video frame: 12K, the largest of cameras
_OPENING = 1 << 30  # bytes that FFmpeg may allocate for a file's index and first frames


def open_memory(file: BinaryIO) -> InputContainer:
    """Open a media file in memory, written by vidstyle itself, from its start."""
    file.seek(0)
    options = {"format_whitelist": ",".join(DEMUXERS)}
    return av.open(file, "r", metadata_errors="replace", options=options)


def open_container(path: Path) -> InputContainer:
    """Open a media file with FFmpeg and read its headers; no other file is opened.

    Raises MediaError if it is not a regular file; PyAV's exceptions for a format that is unknown,
    not in DEMUXERS or damaged.
    """
    check_regular(path)
    options = {
        "format_whitelist": ",".join(DEMUXERS),
        "protocol_whitelist": "file",
        "max_pixels": str(MOST_PIXELS),  # of frames decoded while the headers are read
    }
    with memory_limit(_OPENING):
        return av.open(f"file:{path}", "r", metadata_errors="replace", options=options)
