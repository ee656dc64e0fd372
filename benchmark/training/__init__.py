"""Training: pretraining and meta-training, one loop with two kinds of learner."""

VERSION = "1"  # of loop, optimisers, augmentation and views: raised when the weights that a training makes change
