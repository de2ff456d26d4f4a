"""Running a trained model on recordings."""
