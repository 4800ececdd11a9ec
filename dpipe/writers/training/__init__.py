"""Files for training: crops by class, boxes, masks and pictures."""
