module github.com/corelane/corelane/go

go 1.23
