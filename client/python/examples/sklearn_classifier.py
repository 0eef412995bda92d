"""A scikit-learn classifier with its scaler, on the handwritten digits that scikit-learn brings."""

import served
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlpserve

x, x_test, label, label_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
model = make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=200, random_state=0)).fit(x, label)

models = served.repository()
mlpserve.export(model, models / "digits", output_name="logits")  # the scaler is folded into the first layer
address = served.serve(models)

with mlpserve.Client(address) as client:
    client.wait_until_ready()
    found = model.classes_[client.infer("digits", x_test).argmax(axis=1)]
    print(f"accuracy {(found == label_test).mean():.3f}, scikit-learn's own {model.score(x_test, label_test):.3f}")
print(mlpserve.verify(model, address, x=x_test))
