module github.com/corelane/corelane/go/examples/observe

go 1.23

require github.com/corelane/corelane/go v0.0.0

replace github.com/corelane/corelane/go => ../../
