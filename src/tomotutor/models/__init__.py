"""The networks: residual networks in 2D and 3D, and the pairs made of them."""

from tomotutor.models.pair import PAIRS, Pair, build_pair
from tomotutor.models.resnet import Output, ResNet

__all__ = ["PAIRS", "Output", "Pair", "ResNet", "build_pair"]
