"""What the files and documents are made of: strict readers and writers, pure, bytes in and values out."""
