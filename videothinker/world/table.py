"""The table and what lies on it: the constants that the physics and the camera share.

Coordinates are CLEVRER's: the table top is z = 0, z points up, lengths are in CLEVRER's units (an object is 0.4 wide). The
camera stands on the positive x axis and looks along -x, downwards, so +y is to the right on the screen and negating y mirrors
a scene. Physics happens in the plane; heights are constant.
"""

N_FRAMES = 128
"""Frames of a clip, as in CLEVRER."""
FPS = 25
"""Frames per second, as in CLEVRER: a clip lasts 5.12 s."""

COLORS = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")
MATERIALS = ("metal", "rubber")
SHAPES = ("cube", "cylinder", "sphere")

HALF_SIZE = 0.2
"""Radius of spheres and cylinders, half the edge of cubes and half the height of all, so also the z of every object's centre.
All objects have one size, as in CLEVRER, so that nothing bounces upwards."""

STAGE_RADIUS = 1.6
"""Objects that are in the scene from the start lie within this distance of the origin; the camera shows the whole disc."""
OFFSTAGE_RADIUS = 6.5
"""The camera shows nothing of the table beyond this distance from the origin."""
