"""Language models: their texts, weights, losses and scores, shared by the stages."""
