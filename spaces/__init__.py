"""
Holds the Spaces, a folder each, and the command that releases them. On the Hub a Space's folder is the root, and this
package isn't there.

Hugging Face's package for ZeroGPU is called `spaces` too. Since this is a package and no folder without `__init__.py`,
`python -m spaces.release` from the root of the repository runs what is here, whether that one is installed or not.
"""
