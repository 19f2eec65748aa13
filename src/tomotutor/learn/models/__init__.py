"""The networks, one file a family, and the pairs made of them. How they are trained stands in learn/train.py."""

from tomotutor.learn.models.common import Net, Output
from tomotutor.learn.models.pair import MODELS, PAIRS, Pair, Shape, build_net, build_pair
from tomotutor.learn.models.resnet import STEMS, ResNet

__all__ = ["MODELS", "PAIRS", "STEMS", "Net", "Output", "Pair", "ResNet", "Shape", "build_net", "build_pair"]
