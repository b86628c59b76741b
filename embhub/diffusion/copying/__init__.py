"""The copy check: drawn images beside the training images, at the site that has both."""
