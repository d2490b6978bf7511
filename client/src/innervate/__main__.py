"""`python -m innervate` is the innervate command."""

from innervate.cli import main

if __name__ == "__main__":
    main()
