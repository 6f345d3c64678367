"""The gradient checker: is a gradient right, wrong, or beyond what this precision can tell?"""
