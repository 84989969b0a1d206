"""Stages that hold a model, and the training of those models."""
