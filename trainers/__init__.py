"""What learns. The only room with torch."""
