module corelane.test/ffi

go 1.22
