"""What later processes need not make again, kept in files that nobody else can write."""

from cubie.cache.shelf import CacheWarning, Shelf, cache_directory, digest_of, is_digest

__all__ = ["CacheWarning", "Shelf", "cache_directory", "digest_of", "is_digest"]
