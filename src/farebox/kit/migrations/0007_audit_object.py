from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kit", "0006_audit_seal"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["object", "id"], name="kit_audit_object"),
        ),
    ]
