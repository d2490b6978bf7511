"""The demonstration of the loop: releases serve, are judged, are replaced, and come back by themselves."""
