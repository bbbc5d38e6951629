"""Files that a kill never leaves half written."""

import os

import torch


def save(path, state):
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)
