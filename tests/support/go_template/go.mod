module tunesmith.test/template

go 1.19
