"""Commands that train: pretraining, meta-training, pipelines, reproductions."""
