import time
def test_it(trained):
    print(trained.progress)
def test_r(reader): pass
